# SPDX-License-Identifier: Apache-2.0
"""The calls on curation."""

from __future__ import annotations

from curation.marking import TAG_LENGTH
from curation.models import (
    ReviewItem,
)
from curation.models.marks import BEST
from jobs.api.schema.objects import (
    ANYTHING,
    Schema,
    array,
    one_of,
    ref,
    text,
    whole,
)
from jobs.api.schema.operation import AFTER, BAD_BODY, body, in_path, operation, query

TAG = "Curation"
LIMIT = query("limit", whole(1, 100, default=20), "Length of the page.")
RUBRIC_ID = in_path("rubric_id", "The rubric's id.")
QUEUE_ID = in_path("queue_id", "The queue's id.")
ITEM_ID = in_path("item_id", "The item's id.")
DATASET_ID = in_path("dataset_id", "The dataset's id.")


def _list(
    name: str, what: str, schema: str, *parameters: Schema, **more: int
) -> Schema:
    missing = (404,) if more.get("inside") else ()
    return operation(
        name,
        TAG,
        what,
        parameters=(*parameters, LIMIT, AFTER),
        answer=ref(schema),
        errors=(400, *missing),
    )


def _show(name: str, what: str, schema: str, *parameters: Schema) -> Schema:
    return operation(
        name, TAG, what, parameters=parameters, answer=ref(schema), errors=(400, 404)
    )


def _do(
    name: str,
    what: str,
    sends: str | None,
    schema: str,
    *parameters: Schema,
    errors: tuple[int, ...] = (),
    description: str = "",
) -> Schema:
    inside = (404,) if parameters else ()
    return operation(
        name,
        TAG,
        what,
        description=description,
        parameters=parameters,
        sends=body(ref(sends)) if sends else None,
        answer=ref(schema),
        errors=(*(BAD_BODY if sends else (400,)), *inside, *errors),
    )


OPERATIONS: dict[str, dict[str, Schema]] = {
    "/v1/curation/rubrics": {
        "GET": _list("listRubrics", "List the team's rubrics.", "RubricList"),
        "POST": _do("createRubric", "Make a rubric.", "CreateRubric", "Rubric"),
    },
    "/v1/curation/rubrics/{rubric_id}": {
        "GET": _show(
            "getRubric",
            "Look at a rubric.",
            "Rubric",
            RUBRIC_ID,
            query("version", whole(1, 2**31 - 1), "Another version than the newest."),
        ),
        "POST": _do(
            "updateRubric",
            "Change a rubric.",
            "ChangeRubric",
            "Rubric",
            RUBRIC_ID,
            description="Questions that a queue asks stay: then there is another version.",
        ),
    },
    "/v1/curation/queues": {
        "GET": _list("listQueues", "List the team's review queues.", "QueueList"),
        "POST": _do("createQueue", "Make a review queue.", "CreateQueue", "Queue"),
    },
    "/v1/curation/queues/{queue_id}": {
        "GET": _show("getQueue", "Look at a queue.", "Queue", QUEUE_ID),
        "POST": _do("updateQueue", "Change a queue.", "ChangeQueue", "Queue", QUEUE_ID),
    },
    "/v1/curation/queues/{queue_id}/feeds": {
        "GET": _list(
            "listFeeds",
            "List what was sent to a queue.",
            "CurationFeedList",
            QUEUE_ID,
            inside=1,
        ),
        "POST": _do(
            "sendToQueue",
            "Send answers of a batch to a queue.",
            "SendToQueue",
            "CurationFeed",
            QUEUE_ID,
            description="A control worker adds them, each once however often it is sent.",
        ),
    },
    "/v1/curation/queues/{queue_id}/rules": {
        "GET": operation(
            "listRules",
            TAG,
            "List the rules that feed a queue by themselves.",
            parameters=(QUEUE_ID,),
            answer=ref("CurationRuleList"),
            errors=(404,),
        ),
        "POST": _do(
            "createRule",
            "Feed a queue from each batch of a kind that ends from now on.",
            "FeedByRule",
            "CurationRule",
            QUEUE_ID,
        ),
    },
    "/v1/curation/rules/{rule_id}": {
        "DELETE": operation(
            "deleteRule",
            TAG,
            "Feed nothing by a rule any more.",
            parameters=(in_path("rule_id", "The rule's id."),),
            answer=ref("DeletedRule"),
            errors=(404,),
        ),
    },
    "/v1/curation/queues/{queue_id}/items": {
        "GET": _list(
            "listItems",
            "List a queue's items, oldest first.",
            "CurationItemList",
            QUEUE_ID,
            query("state", one_of(ReviewItem.State.values), "Only those."),
            query("flagged", one_of(("true", "false")), "Only those."),
            query("custom_id", text(512), "Only that request's."),
            inside=1,
        ),
    },
    "/v1/curation/queues/{queue_id}/next": {
        "POST": _do(
            "nextItem",
            "Take the next item, held for the key's person.",
            None,
            "CurationNext",
            QUEUE_ID,
            errors=(409,),
        ),
    },
    "/v1/curation/queues/{queue_id}/undo": {
        "POST": _do(
            "undoJudgement",
            "Take back what the key's person did last in the queue.",
            None,
            "CurationItem",
            QUEUE_ID,
            errors=(409,),
        ),
    },
    "/v1/curation/queues/{queue_id}/rework": {
        "POST": _do(
            "reworkItems",
            "Run items' requests once more, changed; the child batches.",
            "Rework",
            "BatchList",
            QUEUE_ID,
            errors=(409,),
            description="Their answers become new versions of the items.",
        ),
    },
    "/v1/curation/queues/{queue_id}/label_studio/config": {
        "GET": operation(
            "getLabelStudioConfig",
            TAG,
            "The configuration of a Label Studio project that asks the same.",
            parameters=(QUEUE_ID,),
            answer=text(),
            media_type="application/xml",
            errors=(404,),
        ),
    },
    "/v1/curation/queues/{queue_id}/label_studio/tasks": {
        "GET": operation(
            "getLabelStudioTasks",
            TAG,
            "A queue's items and judgements as Label Studio's tasks.",
            parameters=(QUEUE_ID,),
            answer=array(ANYTHING),
            errors=(404,),
        ),
        "POST": _do(
            "takeLabelStudioTasks",
            "Take judgements that Label Studio exported.",
            "TakeTasks",
            "CurationImport",
            QUEUE_ID,
            description="What does not fit is left and named; nothing counts twice.",
        ),
    },
    "/v1/curation/queues/{queue_id}/agreement": {
        "GET": _show(
            "getAgreement", "See how far people agree.", "CurationAgreement", QUEUE_ID
        ),
    },
    "/v1/curation/queues/{queue_id}/judge_runs": {
        "GET": _list(
            "listJudgeRuns",
            "List the runs of judge models, newest first.",
            "JudgeRunList",
            QUEUE_ID,
            inside=1,
        ),
        "POST": _do(
            "askJudge",
            "Put a queue's rubric to a model, for the newest decided items.",
            "AskJudge",
            "JudgeRun",
            QUEUE_ID,
            errors=(429,),
            description="A batch of its own; what it says counts as nobody's judgement.",
        ),
    },
    "/v1/curation/judge_runs/{judge_run_id}": {
        "GET": _show(
            "getJudgeRun",
            "See how far a judge model and people agree.",
            "JudgeRun",
            in_path("judge_run_id", "The run's id."),
        ),
    },
    "/v1/curation/items/{item_id}": {
        "GET": _show("getItem", "Look at an item.", "CurationItem", ITEM_ID),
        "POST": _do(
            "updateItem", "Change an item.", "ChangeItem", "CurationItem", ITEM_ID
        ),
    },
    "/v1/curation/items/{item_id}/responses": {
        "GET": operation(
            "listResponses",
            TAG,
            "List the judgements of an item's newest version.",
            description="None for somebody who is still to judge it blindly.",
            parameters=(ITEM_ID,),
            answer=ref("CurationResponseList"),
            errors=(404,),
        ),
        "POST": _do(
            "judgeItem",
            "Judge an item that the key's person was given.",
            "Judge",
            "CurationResponse",
            ITEM_ID,
            errors=(409,),
            description="Submitted ones count; 409 where enough others have judged it.",
        ),
    },
    "/v1/curation/items/{item_id}/skip": {
        "POST": _do(
            "skipItem",
            "Never give the item to the key's person again.",
            "Skip",
            "CurationItem",
            ITEM_ID,
            errors=(409,),
        ),
    },
    "/v1/curation/items/{item_id}/resolution": {
        "POST": _do(
            "decideItem",
            "Decide what holds: one of the judgements, or own answers.",
            "Decide",
            "CurationItem",
            ITEM_ID,
        ),
        "DELETE": operation(
            "reopenItem",
            TAG,
            "Take a person's decision back.",
            parameters=(ITEM_ID,),
            answer=ref("CurationItem"),
            errors=(404,),
        ),
    },
    "/v1/curation/marks": {
        "GET": _list(
            "listMarks",
            "List marked answers, newest first.",
            "MarkList",
            query("starred", one_of(("true", "false")), "Only those with a star."),
            query("least", whole(1, BEST), "Only those of that quality and better."),
            query("tag", text(TAG_LENGTH), "Only those with that tag."),
        ),
        "POST": _do(
            "markAnswer",
            "Mark an answer: what is not named stays.",
            "MarkAnswer",
            "Marked",
        ),
    },
    "/v1/curation/datasets": {
        "GET": _list("listDatasets", "List the team's datasets.", "DatasetList"),
        "POST": _do("createDataset", "Make a dataset.", "CreateDataset", "Dataset"),
    },
    "/v1/curation/datasets/{dataset_id}": {
        "GET": _show("getDataset", "Look at a dataset.", "Dataset", DATASET_ID),
    },
    "/v1/curation/datasets/{dataset_id}/versions": {
        "POST": _do(
            "createDatasetVersion",
            "Have the next version of a dataset made.",
            "CreateDatasetVersion",
            "DatasetBuild",
            DATASET_ID,
        ),
    },
}
