"""The file adapter is told the folders of a port, and which settings name them."""

from gateway.config.models import Settings
from gateway.kernel.ids import PortName
from gateway.runtime.addresses import receive_settings, send_settings

SETTINGS = Settings.model_validate(
    {
        "data": "/srv/data",
        "services": {"S": {"kind": "document", "document": "D", "entity": "E", "key": "K"}},
        "ports": {
            "in": {"receive": {"folder": "/srv/in"}, "respond": {"folder": "/srv/out"}, "operations": ["S.*"]},
            "mute": {"receive": {"folder": "/srv/mute"}, "operations": ["S.*"]},
            "out": {"direction": "outbound", "send": {"folder": "/srv/copies"}, "operations": ["S.read"]},
        },
    }
)
IN, MUTE, OUT = PortName("in"), PortName("mute"), PortName("out")


def test_each_side_of_a_port_is_there_or_not() -> None:
    sides = [
        (receive_settings(n, SETTINGS) is not None, send_settings(n, SETTINGS) is not None) for n in (IN, MUTE, OUT)
    ]
    assert sides == [(True, True), (True, False), (False, True)]


def test_trouble_with_a_folder_names_the_setting_of_its_direction() -> None:
    answering, sending = send_settings(IN, SETTINGS), send_settings(OUT, SETTINGS)
    assert answering is not None and sending is not None
    assert answering.outbound.setting == "ports.in.respond.folder"
    assert sending.outbound.setting == "ports.out.send.folder"
    assert sending.staging.setting == "ports.out.send.staging"
