"""littlebig.json of a model repository."""

import json

import pytest

from littlebig_contract.provenance import PROVENANCE, ProvenanceError, read_provenance


def test_provenance_is_read(tmp_path):
    content = {"pair": {"name": "efficientnet-lite"}, "target": "cpu"}
    (tmp_path / PROVENANCE).write_text(json.dumps(content))
    assert read_provenance(tmp_path) == content


def test_folder_without_provenance_is_refused(tmp_path):
    with pytest.raises(ProvenanceError) as error:
        read_provenance(tmp_path)
    assert str(error.value) == (
        f"'{tmp_path}' is not a model repository of Little-Big (no littlebig.json): make one with 'littlebig export --output DIR'"
    )


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'"\xff"'])
def test_unreadable_provenance_is_refused_in_one_line(tmp_path, content):
    (tmp_path / PROVENANCE).write_bytes(content)
    with pytest.raises(
        ProvenanceError, match=r"littlebig\.json' cannot be read \(.+\): export the repository again"
    ) as e:
        read_provenance(tmp_path)
    assert "\n" not in str(e.value)


def test_provenance_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / PROVENANCE).mkdir()
    with pytest.raises(ProvenanceError, match="cannot be read"):
        read_provenance(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"pair": "lite"}', '{"pair": {"name": 3}}', '{"pair": {}}'])
def test_provenance_without_a_pair_name_is_refused(tmp_path, content):
    (tmp_path / PROVENANCE).write_text(content)
    with pytest.raises(ProvenanceError, match="does not name a pair: export the repository again"):
        read_provenance(tmp_path)
