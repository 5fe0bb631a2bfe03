# SPDX-License-Identifier: Apache-2.0
"""`bench`: suites put to models, and whether one of them is worse."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from .api import Api
from .options import Json
from .printing import say, write_json, write_line, write_table
from .problems import BAD_END, OK, Away, Problem
from .session import site

LOOK_SECONDS = 2.0
PAGE = 100
AS_GIVEN = "as-given"

bench = typer.Typer(
    help="Put suites to models, and compare them.", no_args_is_help=True
)
Models = Annotated[
    str, typer.Option("--models", "-m", help="Names of models, with commas between.")
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        metavar="NAME=JSON",
        help='What each request gets: greedy={"temperature": 0}. May be repeated.',
    ),
]
Baseline = Annotated[
    str,
    typer.Option(
        "--baseline", help="The model that others are compared with; the first one."
    ),
]
Metric = Annotated[str, typer.Option("--metric", help="Compared; the mean of all.")]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait", "-w", help="Stay until the end; 1 where a model is worse or failed."
    ),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]


@bench.command()
def suites(as_json: Json = False) -> None:
    """List the team's suites."""
    found = _suites(site())
    if as_json:
        write_json(found)
        return
    if not found:
        say("The team has no suite yet: add one under Benchmarks in the browser.")
    rows = [(s["id"], s["name"], str(s["items"]), str(s["version"])) for s in found]
    write_table(("SUITE", "NAME", "ITEMS", "VERSION"), rows)


@bench.command()
def run(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="Its name or id.")],
    models: Models,
    variant: Variants = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1)] = 1,
    name: Annotated[str, typer.Option("--name", help="What people call it.")] = "",
    baseline: Baseline = "",
    metric: Metric = "score",
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Put a suite to models, as batches of the lowest priority."""
    names = [one.strip() for one in models.split(",") if one.strip()]
    if baseline and baseline not in names:
        raise Problem(f"{baseline} is none of the models.")
    api = site()
    asked: dict[str, Any] = {
        "suite_id": _suite_id(api, suite),
        "models": names,
        "repeats": repeats,
        "name": name,
    }
    if variant:
        asked["variants"] = [_variant(one) for one in variant]
    made = api.post("benchmarks/runs", asked)
    say(f"Run {made['id']} of {len(made['cells'])} batches is under way.")
    if not wait:
        write_json(made) if as_json else write_line(made["id"])
        return
    _end(api, _follow(api, made["id"]), baseline, metric, as_json=as_json)


@bench.command()
def show(
    run_id: RunId,
    baseline: Baseline = "",
    metric: Metric = "score",
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Show how the models of a run compare."""
    api = site()
    found = _follow(api, run_id) if wait else api.get(f"benchmarks/runs/{run_id}")
    _end(api, found, baseline, metric, as_json=as_json)


def _suites(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more: dict[str, str | int] = {"limit": PAGE, "after": ""}
    while True:
        page = api.get("benchmarks/suites", **{k: v for k, v in more.items() if v})
        found += page["data"]
        if not page["has_more"]:
            return found
        more["after"] = page["last_id"]


def _suite_id(api: Api, wanted: str) -> str:
    """The id of the suite that is called so."""
    for one in _suites(api):
        if wanted in (one["id"], one["name"]):
            return str(one["id"])
    raise Problem(f"No suite is called {wanted}; `batchsite bench suites` lists them.")


def _variant(text: str) -> dict[str, Any]:
    name, _, body = text.partition("=")
    try:
        return {"name": name, "body": json.loads(body or "{}")}
    except ValueError as error:
        raise Problem(f"--variant {name}: {error}.") from None


def _follow(api: Api, run_id: str) -> dict[str, Any]:
    """Wait for the run's end, and say how far it is; the run."""
    said = -1
    while True:
        try:
            found = api.get(f"benchmarks/runs/{run_id}")
        except Away as away:
            say(f"{away} Trying again.", style="yellow")
            pause()
            continue
        cells = found["cells"]
        ended = sum(cell["state"] not in ("waiting", "running") for cell in cells)
        if ended != said:
            say(f"{ended} of {len(cells)} batches have ended.")
            said = ended
        if found["state"] != "running":
            return found
        pause()


def pause() -> None:
    """Until the next look."""
    time.sleep(LOOK_SECONDS)


def _end(
    api: Api, run: dict[str, Any], baseline: str, metric: str, *, as_json: bool
) -> None:
    """Write the comparison, and exit with 1 where something is worse or failed."""
    compared = _compared(api, run, baseline, metric)
    if as_json:
        write_json({"run": run, "comparison": compared})
    else:
        everyone = [compared["baseline"], *compared["others"]]
        write_table(
            ("MODEL", "VARIANT", "SCORE", "INTERVAL", "DIFFERENCE", "VERDICT"),
            [_row(one) for one in everyone],
        )
    for cell in run["cells"]:
        if cell["state"] == "failed":
            say(f"{cell['model']}, {cell['variant']}: {cell['problem']}", style="red")
    raise typer.Exit(_code(run, compared))


def _compared(
    api: Api, run: dict[str, Any], baseline: str, metric: str
) -> dict[str, Any]:
    place = 0
    if baseline:
        places = [c["position"] for c in run["cells"] if c["model"] == baseline]
        if not places:
            raise Problem(f"{baseline} is none of the run's models.")
        place = places[0]
    while True:
        found = api.get(
            f"benchmarks/runs/{run['id']}/comparison", baseline=place, metric=metric
        )
        if found["complete"]:
            return found


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    variant = "" if one["variant"] == AS_GIVEN else one["variant"]
    compared = one.get("compared")
    interval = "" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
    return (
        one["model"],
        variant,
        "" if one["mean"] is None else f"{one['mean']:.3f}",
        interval,
        f"{compared['difference']:+.3f}" if compared else "",
        compared["verdict"]
        if compared
        else "baseline"
        if "compared" not in one
        else "",
    )


def _code(run: dict[str, Any], compared: dict[str, Any]) -> int:
    if any(cell["state"] in ("failed", "cancelled") for cell in run["cells"]):
        return BAD_END
    verdicts = [
        one["compared"]["verdict"] for one in compared["others"] if one["compared"]
    ]
    return BAD_END if "worse" in verdicts else OK
