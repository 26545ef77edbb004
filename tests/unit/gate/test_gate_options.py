import pytest
from littlebig_gate import BadRequest, Options

DEFAULTS = Options(threshold=0.55)


def test_a_request_without_parameters_gets_the_models_defaults():
    assert DEFAULTS.with_request("") == DEFAULTS
    assert DEFAULTS.with_request("{}") == DEFAULTS


def test_a_request_overrides_what_it_names_and_keeps_the_rest():
    assert DEFAULTS.with_request('{"threshold": 0.9}') == Options(0.9, "cascade")
    assert DEFAULTS.with_request('{"policy": "big"}') == Options(0.55, "big")
    assert DEFAULTS.with_request('{"threshold": 1}') == Options(1.0, "cascade")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ('{"threshold": 1.5}', "parameter 'threshold' = 1.5 is not a number in [0, 1]"),
        ('{"threshold": -0.1}', "parameter 'threshold' = -0.1 is not a number in [0, 1]"),
        ('{"threshold": NaN}', "parameter 'threshold' = nan is not a number in [0, 1]"),
        ('{"threshold": true}', "parameter 'threshold' = True is not a number in [0, 1]"),
        ('{"threshold": "0.5"}', "parameter 'threshold' = '0.5' is not a number in [0, 1]"),
        ('{"policy": "huge"}', "parameter 'policy' = 'huge' is none of cascade, little, big"),
        ('{"policy": 1}', "parameter 'policy' = 1 is none of cascade, little, big"),
        ('{"treshold": 0.5}', "unknown parameter 'treshold'; a request may set threshold and policy"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_it_may_be(parameters, message):
    with pytest.raises(BadRequest) as error:
        DEFAULTS.with_request(parameters)
    assert str(error.value) == message
