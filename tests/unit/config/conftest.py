"""Build settings out of short YAML texts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from gateway.config.load import parse
from gateway.config.models import Settings
from gateway.kernel.errors import ConfigError

Build = Callable[..., Settings]
Told = Callable[..., list[tuple[int | None, str, str]]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Return a function from a YAML text (and an environment) to settings."""

    def build(text: str | bytes, environ: Mapping[str, str] | None = None) -> Settings:
        content = text if isinstance(text, bytes) else dedent(text).encode()
        return parse(content, file="config.yaml", base=tmp_path, environ=environ or {})

    return build


@pytest.fixture
def told(build: Build) -> Told:
    """Return a function from a YAML text to its problems as (line, path, text)."""

    def told(text: str | bytes, environ: Mapping[str, str] | None = None) -> list[tuple[int | None, str, str]]:
        with pytest.raises(ConfigError) as caught:
            build(text, environ)
        return [(problem.line, problem.path, problem.text) for problem in caught.value.problems]

    return told
