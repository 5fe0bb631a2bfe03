# SPDX-License-Identifier: Apache-2.0
"""The operations on benchmarks, and their objects, for the API's description."""

from __future__ import annotations

from benchmarks.item_lines import MOST_TAGS, TAG_LENGTH
from benchmarks.models import Cell, Run
from benchmarks.running import MOST_CELLS, MOST_REPEATS
from benchmarks.scoring import KINDS
from benchmarks.scoring.metrics import MOST_METRICS, NAME_LENGTH
from benchmarks.sources import MOST_REPLAYED, READY
from jobs.api.schema.filters import RESULT_FILTER
from jobs.api.schema.objects import (
    ANYTHING,
    BOOLEAN,
    COUNT,
    UNIX,
    Schema,
    array,
    listed,
    noted,
    obj,
    one_of,
    or_null,
    ref,
    some,
    text,
    whole,
)
from jobs.api.schema.operation import (
    AFTER,
    BAD_BODY,
    JSONL,
    body,
    in_path,
    operation,
    query,
)
from jobs.jsonl import ENDPOINTS

TAG = "Benchmarks"
LIMIT = query("limit", whole(1, 100, default=20), "Length of the page.")
SUITE_ID = in_path("suite_id", "The suite's id.")
VERSION = query("version", whole(1, 2**31 - 1), "Another version than the newest.")
METRIC = obj(
    "kind",
    kind=one_of(KINDS),
    name=noted("What it is called in figures; its kind.", text(NAME_LENGTH, least=1)),
    params=ANYTHING,
)
CONTENT: dict[str, Schema] = {
    "file_id": noted("A file of items, of requests, or of a dataset.", text(least=1)),
    "ready": noted("One that ships.", one_of([one.slug for one in READY])),
    "batch_id": noted("Replay rows of this batch.", text(least=1)),
    "filter": noted("Of a batch: which of its rows.", or_null(RESULT_FILTER)),
    "most": noted("Of a batch: how many rows.", whole(1, MOST_REPLAYED)),
    "with_reference": noted(
        "Of a batch: what was answered then is what answers are compared with.",
        or_null(BOOLEAN),
    ),
    "metrics": noted(
        "Asked of items that have none of their own.",
        or_null({**array(METRIC), "maxItems": MOST_METRICS}),
    ),
}
VARIANT = obj("name", name=text(40, least=1), body=ANYTHING)
RUN_ID = in_path("run_id", "The run's id.")
NUMBER: Schema = {"type": "number"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
CELL = obj(
    position=COUNT,
    model=text(),
    variant=text(),
    repeat=whole(1, MOST_REPEATS),
    state=one_of(Cell.State.values),
    problem=or_null(text()),
    batch_id=or_null(text()),
    figures=noted("What came of it; null before it is done.", or_null(ANYTHING)),
)
CONTESTANT: dict[str, Schema] = {
    "position": COUNT,
    "model": text(),
    "variant": text(),
    "mean": or_null(SHARE),
    "low": or_null(SHARE),
    "high": or_null(SHARE),
}
COMPARED = obj(
    verdict=one_of(("no significant difference", "better", "worse")),
    items=COUNT,
    difference=NUMBER,
    low=NUMBER,
    high=NUMBER,
    p=SHARE,
    worse=noted(
        "Custom ids, the largest difference first; 100 at most.", array(text())
    ),
    worse_count=COUNT,
    better=array(text()),
    better_count=COUNT,
)
SCHEMAS: dict[str, Schema] = {
    "Comparison": obj(
        object={"const": "benchmark.comparison"},
        run_id=text(),
        metric=text(),
        complete=noted("false: ask again, some are not compared yet.", BOOLEAN),
        baseline=obj(**CONTESTANT),
        others=array(
            obj(
                **CONTESTANT,
                compared=noted("null: no item in common yet.", or_null(COMPARED)),
            )
        ),
    ),
    "Run": obj(
        id=text(),
        object={"const": "benchmark.run"},
        name=text(),
        state=one_of(Run.State.values),
        suite_id=text(),
        suite_version=whole(1, 2**31 - 1),
        models=array(text()),
        variants=array(VARIANT),
        repeats=whole(1, MOST_REPEATS),
        rerun_of=or_null(text()),
        cells=array(CELL),
        created_at=UNIX,
        ended_at=or_null(UNIX),
    ),
    "RunList": listed("Run"),
    "StartRun": obj(
        "suite_id",
        "models",
        suite_id=text(least=1),
        suite_version=noted("Its newest where it is not said.", or_null(COUNT)),
        models=array(text(least=1), minItems=1, maxItems=MOST_CELLS),
        variants=noted(
            "What each changes in the items' bodies; none: they stay as they are.",
            or_null(array(VARIANT, minItems=1)),
        ),
        repeats=whole(1, MOST_REPEATS),
        name=or_null(text(100)),
    ),
    "ArchiveSuite": some(archived=or_null(BOOLEAN)),
    "BenchmarkItem": obj(
        object={"const": "benchmark.item"},
        id=text(),
        custom_id=text(),
        url=one_of(ENDPOINTS),
        body=ANYTHING,
        reference=noted("null: there is none.", {}),
        metrics=array(METRIC),
        tags=array(text(TAG_LENGTH), maxItems=MOST_TAGS),
    ),
    "BenchmarkItemList": listed("BenchmarkItem"),
    "ChangeSuite": some(**CONTENT),
    "CreateSuite": obj("name", name=text(100, least=1), **CONTENT),
    "Suite": obj(
        id=text(),
        object={"const": "benchmark.suite"},
        name=text(),
        version=whole(1, 2**31 - 1),
        items=COUNT,
        url=one_of(ENDPOINTS),
        metrics=array(METRIC),
        source=noted("Where the items are from.", ANYTHING),
        sha256=noted("Of items and metrics.", text()),
        archived=BOOLEAN,
        created_at=UNIX,
        version_created_at=UNIX,
    ),
    "SuiteList": listed("Suite"),
}


def _act(name: str, what: str, *errors: int) -> dict[str, Schema]:
    return {
        "POST": operation(
            name,
            TAG,
            what,
            parameters=(RUN_ID,),
            answer=ref("Run"),
            errors=(400, 404, *errors),
        )
    }


OPERATIONS: dict[str, dict[str, Schema]] = {
    "/v1/benchmarks/runs": {
        "GET": operation(
            "listRuns",
            TAG,
            "List the team's runs.",
            parameters=(LIMIT, AFTER),
            answer=ref("RunList"),
            errors=(400,),
        ),
        "POST": operation(
            "startRun",
            TAG,
            "Put a suite to models: a batch for each model, variant and repeat.",
            sends=body(ref("StartRun")),
            answer=ref("Run"),
            errors=BAD_BODY,
        ),
    },
    "/v1/benchmarks/runs/{run_id}": {
        "GET": operation(
            "getRun",
            TAG,
            "Look at a run.",
            parameters=(RUN_ID,),
            answer=ref("Run"),
            errors=(404,),
        ),
    },
    "/v1/benchmarks/runs/{run_id}/cancel": _act(
        "cancelRun", "End what has not ended of a run.", 409
    ),
    "/v1/benchmarks/runs/{run_id}/resume": _act(
        "resumeRun", "Run cells that were cancelled or failed once more.", 409
    ),
    "/v1/benchmarks/runs/{run_id}/rerun": _act(
        "rerunRun", "The same once more, as a run of its own."
    ),
    "/v1/benchmarks/runs/{run_id}/comparison": {
        "GET": operation(
            "compareRun",
            TAG,
            "Models and variants of a run beside a baseline.",
            parameters=(
                RUN_ID,
                query(
                    "baseline", whole(0, MOST_CELLS), "Position of one of its cells."
                ),
                query("metric", text(), "The mean of all where it is not said."),
            ),
            answer=ref("Comparison"),
            errors=(400, 404),
        ),
    },
    "/v1/benchmarks/suites": {
        "GET": operation(
            "listSuites",
            TAG,
            "List the team's suites.",
            parameters=(LIMIT, AFTER),
            answer=ref("SuiteList"),
            errors=(400,),
        ),
        "POST": operation(
            "createSuite",
            TAG,
            "Make a suite of a file, of rows of a batch, or of one that ships.",
            sends=body(ref("CreateSuite")),
            answer=ref("Suite"),
            errors=BAD_BODY,
        ),
    },
    "/v1/benchmarks/suites/{suite_id}": {
        "GET": operation(
            "getSuite",
            TAG,
            "Look at a suite.",
            parameters=(SUITE_ID, VERSION),
            answer=ref("Suite"),
            errors=(400, 404),
        ),
        "POST": operation(
            "updateSuite",
            TAG,
            "Archive a suite, or restore it.",
            parameters=(SUITE_ID,),
            sends=body(ref("ArchiveSuite")),
            answer=ref("Suite"),
            errors=(*BAD_BODY, 404),
        ),
    },
    "/v1/benchmarks/suites/{suite_id}/versions": {
        "POST": operation(
            "createSuiteVersion",
            TAG,
            "Make the next version; the same items again make none.",
            parameters=(SUITE_ID,),
            sends=body(ref("ChangeSuite")),
            answer=ref("Suite"),
            errors=(*BAD_BODY, 404),
        ),
    },
    "/v1/benchmarks/suites/{suite_id}/items": {
        "GET": operation(
            "listSuiteItems",
            TAG,
            "List the items of a version, in their order.",
            parameters=(SUITE_ID, VERSION, LIMIT, AFTER),
            answer=ref("BenchmarkItemList"),
            errors=(400, 404),
        ),
    },
    "/v1/benchmarks/suites/{suite_id}/export": {
        "GET": operation(
            "exportSuite",
            TAG,
            "A version as JSON Lines that make the same suite on any site.",
            parameters=(SUITE_ID, VERSION),
            answer=text(),
            media_type=JSONL,
            errors=(400, 404),
        ),
    },
}
