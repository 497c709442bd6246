"""The types of events: what patterns name, and that the flow tells no other."""

import ast
import re
from pathlib import Path

from bridge.core.events import BY_DEFAULT, EACH_MESSAGE, TYPES, matching

FLOW = Path(__file__).parents[2] / "bridge" / "flow"
EVENT = re.compile(rf"({'|'.join({each.partition('.')[0] for each in TYPES})})\.[a-z_]+")


def test_patterns_name_types() -> None:
    """Whole types, and all of a family; what is none names nothing."""
    assert matching(["socket.*", "sms.sent"]) == {"socket.connected", "socket.closed", "sms.sent"}
    assert matching(["*"]) == set(BY_DEFAULT) | set(EACH_MESSAGE)
    assert not matching(["massage.*", "message", ""])


def test_the_flow_tells_no_other_type() -> None:
    """One that is missing here would never be published."""
    texts = {
        node.value
        for path in FLOW.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    told = {text for text in texts if EVENT.fullmatch(text)}
    assert told
    assert told <= set(TYPES)
