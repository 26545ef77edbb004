import pytest
from littlebig_errors import GateError
from littlebig_request import Options

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
