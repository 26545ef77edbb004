from pathlib import Path

import pytest

from littlebig_contract.stages import MODELS
from littlebig_export.config_pbtxt import read_config, reference_repository, set_parameter, write_config
from littlebig_export.errors import RepositoryError


@pytest.mark.parametrize("model", MODELS)
def test_reading_and_writing_a_reference_config_changes_nothing(model):
    path = reference_repository() / model / "config.pbtxt"
    assert write_config(read_config(path)) == path.read_text()


def write(folder: Path, text: str) -> Path:
    path = folder / "config.pbtxt"
    path.write_text(text)
    return path


def test_a_comment_stays_with_its_field_when_fields_are_added_and_removed(tmp_path):
    config = read_config(
        write(
            tmp_path,
            '# The head.\n\nname: "m"\n# Why eight.\nmax_batch_size: 8\n# On b.\nparameters {\n  key: "b"\n  value {\n'
            '    string_value: "1"\n  }\n}\n',
        )
    )
    set_parameter(config.message, "a", 2)
    config.message.ClearField("max_batch_size")
    written = write_config(config)
    assert written.startswith('# The head.\n\nname: "m"\n')
    assert "Why eight" not in written
    assert '# On b.\nparameters {\n  key: "b"\n' in written
    assert written.index('key: "a"') < written.index("# On b.")


def test_a_comment_inside_a_block_keeps_its_indentation(tmp_path):
    text = '# Head.\n\nname: "m"\n\ninput {\n  # The image.\n  name: "x"\n  dims: [2, 3]\n}\n'
    assert write_config(read_config(write(tmp_path, text))) == text


def test_an_invalid_config_is_refused_by_name(tmp_path):
    path = write(tmp_path, "max_batch: 8\n")
    with pytest.raises(RepositoryError, match=r'config\.pbtxt: .*no field named "max_batch"'):
        read_config(path)
