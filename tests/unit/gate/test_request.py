import json

import pytest
from littlebig_errors import GateError
from littlebig_request import Options, Permission

DEFAULTS = Options(threshold=0.55)


def test_a_request_without_parameters_gets_the_defaults():
    assert DEFAULTS.override("") == DEFAULTS
    assert DEFAULTS.override("{}") == DEFAULTS


def test_a_request_overrides_the_parameters_it_sets():
    assert DEFAULTS.override('{"threshold": 0.9}') == Options(0.9, "cascade")
    assert DEFAULTS.override('{"policy": "big"}') == Options(0.55, "big")
    assert DEFAULTS.override('{"threshold": 1}') == Options(1.0, "cascade")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ('{"threshold": 1.5}', "parameter 'threshold' = 1.5 is not a number in [0, 1]"),
        ('{"threshold": -0.1}', "parameter 'threshold' = -0.1 is not a number in [0, 1]"),
        ('{"threshold": NaN}', "parameter 'threshold' = nan is not a number in [0, 1]"),
        ('{"threshold": true}', "parameter 'threshold' = True is not a number in [0, 1]"),
        ('{"threshold": "0.5"}', "parameter 'threshold' = '0.5' is not a number in [0, 1]"),
        ('{"policy": "huge"}', "parameter 'policy' = 'huge' is not one of cascade, little, big"),
        ('{"policy": 1}', "parameter 'policy' = 1 is not one of cascade, little, big"),
        ('{"treshold": 0.5}', "unknown parameter 'treshold'; a request may set threshold and policy"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_name_and_allowed_values(parameters, message):
    with pytest.raises(GateError) as error:
        DEFAULTS.override(parameters)
    assert (error.value.code, error.value.message) == ("INVALID_ARG", message)


@pytest.mark.parametrize(
    ("permission", "parameters", "message"),
    [
        (
            Permission(("threshold",)),
            {"policy": "big"},
            "parameter 'policy' may not be set here; a request may set threshold",
        ),
        (Permission(()), {"threshold": 0.5}, "parameter 'threshold' may not be set here; a request may set none"),
        (Permission(()), {"top_k": 5}, "unknown parameter 'top_k'; a request may set none"),
        (
            Permission(min_threshold=0.2, max_threshold=0.9),
            {"threshold": 0.95},
            "parameter 'threshold' = 0.95 is not a number in [0.2, 0.9]",
        ),
    ],
)
def test_what_may_not_be_set_is_refused_with_what_may(permission, parameters, message):
    with pytest.raises(GateError) as error:
        DEFAULTS.override(json.dumps(parameters), permission)
    assert (error.value.code, error.value.message) == ("INVALID_ARG", message)


def test_a_threshold_at_the_bounds_is_taken_and_the_repositorys_own_need_not_lie_within():
    permission = Permission(("threshold",), 0.6, 0.9)
    assert DEFAULTS.override('{"threshold": 0.6}', permission) == Options(0.6)
    assert DEFAULTS.override('{"threshold": 0.9}', permission) == Options(0.9)
    assert DEFAULTS.override("{}", permission) == Options(0.55)


HOSTILE = "two\nlines \x1b[31m" + "long" * 2500


@pytest.mark.parametrize("parameters", [{HOSTILE: 1}, {"policy": HOSTILE}, {"threshold": HOSTILE}])
def test_text_of_a_request_is_quoted_in_one_short_line(parameters):
    with pytest.raises(GateError) as error:
        DEFAULTS.override(json.dumps(parameters))
    assert error.value.message.isprintable()
    assert "two\\nlines \\x1b[31mlong" in error.value.message
    assert len(error.value.message) < 250
