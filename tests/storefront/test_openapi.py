"""What `/openapi.json` says is what is served: every address, every reference, and the shape of every answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from services.storefront.app import storefront
from services.storefront.openapi import description
from tests.storefront.rig import Rig, opened
from tests.storefront.view import View, corpus

pytestmark = pytest.mark.anyio

DESCRIBED = description()


def references(found: Any) -> Iterator[str]:
    if isinstance(found, dict):
        for name, value in found.items():  # pyright: ignore[reportUnknownVariableType] - any JSON
            if name == "$ref":
                yield str(value)  # pyright: ignore[reportUnknownArgumentType]
            else:
                yield from references(value)
    elif isinstance(found, list):
        for part in found:  # pyright: ignore[reportUnknownVariableType]
            yield from references(part)


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    found: Any = schema
    if "$ref" in schema:
        found = DESCRIBED
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
    assert isinstance(found, dict)
    return found  # pyright: ignore[reportUnknownVariableType]


def mistakes(value: Any, schema: dict[str, Any], at: str = "$") -> Iterator[str]:
    """Where `value` is not what `schema` says: types, required and unknown properties, enumerations."""
    schema = resolve(schema)
    if "anyOf" in schema:
        if all(list(mistakes(value, one, at)) for one in schema["anyOf"]):
            yield f"{at}: fits none"
        return
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None), "boolean": bool}
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        yield f"{at}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is not among {schema['enum']}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{at}.{name} is missing" for name in schema.get("required", []) if name not in value)
        for name, part in value.items():  # pyright: ignore[reportUnknownVariableType] - any JSON
            if name in known:
                yield from mistakes(part, known[name], f"{at}.{name}")
            elif "additionalProperties" not in schema:
                yield f"{at}.{name} is not described"
    if isinstance(value, list):
        for number, part in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            yield from mistakes(part, schema.get("items", {}), f"{at}[{number}]")


def test_every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() -> None:
    for reference in references(DESCRIBED):
        assert resolve({"$ref": reference})
    names = [operation["operationId"] for path in DESCRIBED["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
    assert DESCRIBED["openapi"] == "3.1.0"


async def test_every_address_of_the_api_is_described(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        routes = [route for route in storefront(rig.parts).routes if isinstance(route, Route)]
        served = {(route.path, method) for route in routes for method in route.methods or () if method != "HEAD"}
    described = {(path, method.upper()) for path, found in DESCRIBED["paths"].items() for method in found}
    assert described == {at for at in served if at[0] not in ("/", "/static/{name}", "/openapi.json")}


async def test_every_answer_is_as_described(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        View(rig).fold(corpus())
        asked = [
            ("/orders", await rig.http.get("/orders?limit=2")),
            ("/orders", await rig.http.get("/orders?limit=x")),
            ("/orders/{order_id}", await rig.http.get("/orders/o-nowhere")),
            ("/orders/{order_id}", await rig.http.get("/orders/o-none")),
            ("/orders/{order_id}/events", await rig.http.get("/orders/o-none/events")),
            ("/products", await rig.http.get("/products")),
            ("/health/live", await rig.http.get("/health/live")),
            ("/orders", await rig.post()),
            ("/orders", await rig.post({"items": []}, key="k-2")),
            ("/orders", await rig.post(key="")),
            ("/health/ready", await rig.ready()),
        ]
        rig.world.stop()
        asked.append(("/health/ready", await rig.ready()))

    for path, answer in asked:
        operation = DESCRIBED["paths"][path][answer.request.method.lower()]
        described = operation["responses"][str(answer.status_code)]["content"]
        media_type = answer.headers["content-type"]
        assert list(mistakes(answer.json(), described[media_type]["schema"])) == [], (path, answer.status_code)


async def test_the_page_and_its_files_are_served_and_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with opened(Rig(tmp_path)) as rig:
        page = await rig.http.get("/")
        script = await rig.http.get("/static/page.js")
        again = await rig.http.get("/static/page.js", headers={"If-None-Match": script.headers["etag"]})
        outside = [await rig.http.get(f"/static/{name}") for name in ("..%2fapp.py", "none.css")]

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (script.status_code, again.status_code, again.content) == (200, 304, b"")
    assert [answer.status_code for answer in outside] == [404, 404]
    own = page.text.replace("http://www.w3.org", "")
    assert "http:" not in own
    assert "https:" not in own
    assert "style=" not in own
