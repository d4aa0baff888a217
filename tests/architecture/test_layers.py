"""The parts know one another in one direction only, as pyproject.toml says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_go_downwards_only_and_in_no_circle(tmp_path: Path) -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / "pyproject.toml", "--cache-dir", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def test_sql_stands_in_the_statements_of_a_room_and_in_migrations() -> None:
    """Statements are files; nothing outside these folders knows a table."""
    gateway = ROOT / "gateway"
    for path in gateway.rglob("*.sql"):
        folder = path.parent.relative_to(gateway)
        room = folder.parts[1:2] == ("statements",)
        assert room or folder.is_relative_to("db/migrations"), f"{path} is in neither"
