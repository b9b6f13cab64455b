"""The house: imports run one way, and each outside library has its room."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "neurocards"

FLOW = {
    "alerts",
    "operating",
    "ordering",
    "routing",
    "production",
    "notices",
    "payments",
    "maintenance",
    "checks",
    "audit",
    "preview",
    "keeping",
}
OUTSIDE = {
    "storage",
    "providers",
    "media",
    "texts",
    "catalogue",
    "settings",
    "logs",
    "loops",
    "processes",
    "addresses",
    "sealing",
}

# Each room, and the rooms it may look into. What is not named here may be imported by nobody but itself.
MAY_IMPORT: dict[str, set[str]] = {
    "domain": set(),
    "addresses": set(),
    "media": set(),
    "processes": set(),
    "sealing": set(),
    "storage": {"domain"},
    "logs": set(),
    "texts": {"content"},
    "content": set(),
    "catalogue": {"domain"},
    "settings": {"catalogue", "sealing"},
    "providers": {"domain"},
    "meters": {"domain"},
    "traces": {"domain"},
    "db": {"domain", "meters", "processes"},
    "loops": {"db"},
    "routing": {"db", "domain"},
    "checks": {"db", "domain"},
    "ordering": {"db", "domain", "routing", "traces"},
    "payments": {"db"},
    "operating": {"db", "domain", "payments"},
    "alerts": {"db", "domain", "notices"},
    "production": {"db", "domain", "media", "meters", "routing", "storage", "traces"},
    "notices": {"db", "domain", "loops", "meters", "traces"},
    "maintenance": {"db", "domain", "meters"},
    "audit": {"db"},
    "keeping": {"audit", "checks", "db", "domain", "maintenance", "payments", "sealing", "storage"},
    "preview": {"domain", "media", "production", "providers"},
    "starting": {"catalogue", "db", "settings", "storage"},
    "doctor": {"addresses", "checks", "db", "domain", "media", "providers", "settings", "storage"},
    "worker": {"db", "loops", "meters"},
    "bot": {
        "addresses",
        "db",
        "domain",
        "keeping",
        "loops",
        "media",
        "notices",
        "operating",
        "ordering",
        "payments",
        "settings",
        "storage",
        "texts",
    },
    "web": {"addresses", "bot", "db", "domain", "meters"},
    "console": {"audit", "bot", "db", "doctor", "keeping", "preview"},
    "app": FLOW | OUTSIDE | {"bot", "db", "doctor", "domain", "meters", "starting", "traces", "web", "worker"},
    "cli": FLOW | OUTSIDE | {"app", "console", "db", "demo", "doctor", "domain", "starting", "storm"},
    "__main__": {"cli"},
    "demo": FLOW | OUTSIDE | {"console", "db"},
    "storm": FLOW | OUTSIDE | {"app", "bot", "console", "db", "demo", "domain", "web"},
    "simulators": set(),
}

ONLY_IN = {
    "aiogram": {"bot", "simulators"},
    "psycopg": {"db"},
    "psycopg_pool": {"db"},
    "fluent": {"texts"},
    "openai": {"providers"},
    "PIL": {"media", "demo", "simulators"},
    "av": {"media", "simulators"},
    "obstore": {"storage"},
    "fastapi": {"simulators", "web"},
    "starlette": {"simulators", "web"},
    "uvicorn": {"simulators", "web"},
    "typer": {"cli"},
    "prometheus_client": {"meters", "web"},
    "opentelemetry": {"traces"},
}


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "neurocards":
                yield from (f"neurocards.{alias.name}" for alias in node.names)
            else:
                yield node.module


FILES = [path for path in sorted(SOURCE.rglob("*.py")) if room(path) != "__init__"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_one_way(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        library, *inside = name.split(".")
        if library == "neurocards" and inside and inside[0] != "__version__":
            assert inside[0] in MAY_IMPORT[here] | {here}, f"{here} must not know {inside[0]}"
        assert here in ONLY_IN.get(library, {here}), f"{library} belongs to {ONLY_IN.get(library)}"


def test_every_room_is_on_the_map() -> None:
    assert {room(path) for path in FILES} <= set(MAY_IMPORT)


def test_the_domain_is_the_standard_library_alone() -> None:
    libraries = {name.split(".")[0] for path in (SOURCE / "domain").glob("*.py") for name in imports(path)}
    assert libraries <= {
        "neurocards",
        "collections",
        "dataclasses",
        "datetime",
        "enum",
        "math",
        "re",
        "typing",
        "uuid",
    }
