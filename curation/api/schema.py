# SPDX-License-Identifier: Apache-2.0
"""The operations on curation, and their objects, for the API's description."""

from __future__ import annotations

from curation.datasets import ALL_FORMATS as ROWS
from curation.marking import MOST_TAGS, TAG_LENGTH
from curation.marking import NOTE_LENGTH as NOTE_OF_MARK
from curation.models import (
    Choosing,
    DatasetBuild,
    Feed,
    Resolution,
    Response,
    ReviewItem,
)
from curation.models import ReviewQueue as Queue
from curation.models.feeds import MOST_SAMPLED
from curation.models.marks import BEST
from curation.models.queues import MOST_OVERLAP
from curation.parts import PARTS
from curation.questions import FORMATS, GOALS, KINDS, QUESTIONS_MOST
from curation.tending import PRIORITY
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
from jobs.api.schema.operation import AFTER, BAD_BODY, body, in_path, operation, query
from jobs.result_search import FINISH_REASONS

from .params import GUIDELINES_LENGTH, ITEMS_MOST, LATEST, NOTE_LENGTH, REASON_LENGTH

TAG = "Curation"
NUMBER: Schema = {"type": "number"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
EMAIL = text(254, least=1)
ANSWERS: Schema = noted("Answers by the key of their question.", ANYTHING)
OPTION = obj(
    "value",
    value=text(200, least=1),
    title=text(200, least=1),
    help=text(2000),
    key=noted("Pressed for it: one of a to z and 0 to 9.", text(1)),
)
QUESTION = obj(
    "key",
    "type",
    "title",
    key=text(40, least=1),
    type=one_of(KINDS),
    title=text(200, least=1),
    help=text(2000),
    required=BOOLEAN,
    options=array(OPTION),
    min=NUMBER,
    max=NUMBER,
    goal=one_of(GOALS),
    format=one_of(FORMATS),
    schema=ANYTHING,
)
QUESTIONS = array(QUESTION, minItems=1, maxItems=QUESTIONS_MOST)
RUBRIC = obj(
    id=text(),
    object={"const": "curation.rubric"},
    name=text(),
    version=whole(1, 2**31 - 1),
    used=noted("A queue asks this version, which stays as it is.", BOOLEAN),
    questions=QUESTIONS,
    archived=BOOLEAN,
    created_at=UNIX,
)
SETTINGS: dict[str, Schema] = {
    "overlap": whole(1, MOST_OVERLAP),
    "coverage": noted("Percent of the items that so many judge.", whole(0, 100)),
    "blind_model": BOOLEAN,
    "blind_others": BOOLEAN,
    "gold_rate": noted("Percent of a reviewer's items.", whole(0, 50)),
    "lock_minutes": whole(1, 24 * 60),
    "skips": one_of(Queue.Skips.values),
    "auto_advance": BOOLEAN,
    "auto_resolve": one_of(Queue.AutoResolve.values),
    "guidelines": noted("Markdown.", text(GUIDELINES_LENGTH)),
    "due_at": or_null(whole(0, LATEST)),
}
# What may be sent: null says nothing.
GIVEN = {name: or_null(schema) for name, schema in SETTINGS.items()}
PEOPLE = noted("E-mail addresses of people of the team.", array(EMAIL, maxItems=200))
QUEUE = obj(
    id=text(),
    object={"const": "curation.queue"},
    name=text(),
    kind=one_of(Queue.Kind.values),
    state=one_of(Queue.State.values),
    rubric_id=text(),
    rubric_version=whole(1, 2**31 - 1),
    **SETTINGS,
    assignees=PEOPLE,
    item_counts=obj(total=COUNT, waiting=COUNT, to_decide=COUNT, done=COUNT),
    created_at=UNIX,
)
FEED = obj(
    id=text(),
    object={"const": "curation.feed"},
    queue_id=text(),
    batch_id=text(),
    how=one_of(Choosing.values),
    most=COUNT,
    state=one_of(Feed.State.values),
    added=COUNT,
    known=COUNT,
    without_answer=COUNT,
    problem=or_null(text()),
    created_at=UNIX,
    ended_at=or_null(UNIX),
)
RESOLUTION = obj(
    object={"const": "curation.resolution"},
    how=one_of(Resolution.How.values),
    answers=ANSWERS,
    response_id=or_null(text()),
    by=or_null(text()),
    note=or_null(text()),
    created_at=UNIX,
)
ITEM = obj(
    id=text(),
    object={"const": "curation.item"},
    queue_id=text(),
    state=one_of(ReviewItem.State.values),
    version=whole(1, 2**31 - 1),
    custom_id=text(),
    needed=COUNT,
    submitted=COUNT,
    priority={"type": "integer"},
    severity=SHARE,
    assigned_to=or_null(text()),
    flagged=BOOLEAN,
    flag_reason=or_null(text()),
    gold=noted("The right answers, for who may write.", or_null(ANYTHING)),
    resolution=or_null(ref("CurationResolution")),
    created_at=UNIX,
)
RESPONSE = obj(
    id=text(),
    object={"const": "curation.response"},
    user=text(),
    version=whole(1, 2**31 - 1),
    state=one_of(Response.State.values),
    answers=ANSWERS,
    layout=noted("Places of the answers as the person saw them.", array(COUNT)),
    seconds=NUMBER,
    created_at=UNIX,
    submitted_at=or_null(UNIX),
)
WORK = obj(
    id=noted("The item's id.", text()),
    object={"const": "curation.work"},
    queue_id=text(),
    version=whole(1, 2**31 - 1),
    custom_id=text(),
    endpoint=text(),
    request=noted("The request's body.", {}),
    answers=array(
        obj(
            letter=text(),
            place=COUNT,
            model=noted("null where the queue hides it.", or_null(text())),
            body=noted("The answer's body.", {}),
            finish_reason=or_null(text()),
        )
    ),
    response=ref("CurationResponse"),
)
MAYBE: Schema = or_null(NUMBER)
AGREEMENT = obj(
    object={"const": "curation.agreement"},
    queue_id=text(),
    questions=array(
        obj(
            key=text(),
            items=noted("Judged by two people at least.", COUNT),
            percent=MAYBE,
            alpha=noted("Krippendorff's; null: too little to tell.", MAYBE),
            alpha_low=MAYBE,
            alpha_high=MAYBE,
            fleiss_kappa=MAYBE,
            pairs=array(
                obj(
                    first=text(),
                    second=text(),
                    items=COUNT,
                    percent=NUMBER,
                    cohen_kappa=MAYBE,
                )
            ),
        )
    ),
    reviewers=array(
        obj(
            user=text(),
            judged=COUNT,
            drafts=COUNT,
            skipped=COUNT,
            median_seconds=MAYBE,
            gold_asked=COUNT,
            gold_right=COUNT,
            decided=COUNT,
            as_decided=COUNT,
        )
    ),
    preferences=or_null(
        obj(
            win_rates=array(
                obj(
                    first=text(),
                    second=text(),
                    wins=COUNT,
                    losses=COUNT,
                    ties=COUNT,
                    rate=SHARE,
                    low=NUMBER,
                    high=NUMBER,
                )
            ),
            strengths=array(obj(model=text(), strength=NUMBER)),
            left_share=MAYBE,
            left_p=MAYBE,
        )
    ),
)
VERSION = obj(
    version=whole(1, 2**31 - 1),
    format=one_of(ROWS),
    rows=COUNT,
    test_rows=COUNT,
    train_file_id=or_null(text()),
    test_file_id=or_null(text()),
    manifest=noted("What it was made of, and the sums of its files.", ANYTHING),
    created_at=UNIX,
)
MARK = obj(
    object={"const": "curation.mark"},
    id=text(),
    batch_id=text(),
    custom_id=text(),
    starred=BOOLEAN,
    quality=or_null(whole(1, BEST)),
    tags=array(text()),
    note=text(),
    by=or_null(text()),
    created_at=UNIX,
    updated_at=UNIX,
)
BUILD = obj(
    id=text(),
    object={"const": "curation.build"},
    dataset_id=text(),
    state=one_of(DatasetBuild.State.values),
    version=or_null(whole(1, 2**31 - 1)),
    problem=or_null(text()),
    created_at=UNIX,
    ended_at=or_null(UNIX),
)
DATASET = obj(
    id=text(),
    object={"const": "curation.dataset"},
    name=text(),
    versions=array(VERSION),
    builds=noted("Those under way, and those that failed.", array(ref("DatasetBuild"))),
    created_at=UNIX,
)
FILTER = some(
    outcome=one_of(("completed", "failed")),
    error_class=text(200, least=1),
    finish_reason=one_of(FINISH_REASONS),
    words=text(200, least=1),
    place=one_of(("answers", "requests", "ids")),
)
SCHEMAS: dict[str, Schema] = {
    "ChangeItem": some(
        priority=or_null(whole(-PRIORITY, PRIORITY)),
        assigned_to=or_null(EMAIL),
        excluded=or_null(BOOLEAN),
        gold=noted("What holds of it are right answers, unseen.", or_null(BOOLEAN)),
        flagged=or_null(BOOLEAN),
        flag_reason=or_null(text(REASON_LENGTH)),
        reason=or_null(text(REASON_LENGTH)),
    ),
    "ChangeQueue": some(
        name=or_null(text(100, least=1)),
        state=or_null(one_of(Queue.State.values)),
        assignees=PEOPLE,
        **GIVEN,
    ),
    "ChangeRubric": some(
        name=or_null(text(100, least=1)),
        questions=or_null(QUESTIONS),
        archived=or_null(BOOLEAN),
    ),
    "CreateDataset": obj(name=text(100, least=1)),
    "CreateDatasetVersion": obj(
        "format",
        queue_ids=array(text(least=1), maxItems=100),
        marks=noted(
            "Marked answers become rows, too (sft, reward, few_shot).",
            or_null(
                some(
                    starred=BOOLEAN,
                    least=whole(1, BEST),
                    tag=text(TAG_LENGTH),
                )
            ),
        ),
        format=one_of(ROWS),
        accept=noted(
            'Conditions by question: {"verdict": ["good"], "stars": {"least": 4}}.',
            or_null(ANYTHING),
        ),
        file_format=or_null(one_of(PARTS)),
        test_share=or_null({"type": "number", "minimum": 0, "maximum": 0.9}),
        salt=or_null(text(100)),
        alike=noted(
            "Leave out what is as like as that to an item before.",
            or_null({"type": "number", "minimum": 0.5, "maximum": 1}),
        ),
        redact=noted("Replace what looks like personal data.", or_null(BOOLEAN)),
        most=noted("Examples of `few_shot`.", or_null(whole(1, 1000))),
        tokens=noted("Of all examples together.", or_null(whole(1, 1_000_000))),
        pseudonyms=noted("For the reviewers of `raw`.", or_null(BOOLEAN)),
    ),
    "CreateQueue": obj(
        "name",
        "rubric_id",
        name=text(100, least=1),
        kind=one_of(Queue.Kind.values),
        rubric_id=noted("Its newest version is asked.", text(least=1)),
        assignees=PEOPLE,
        **GIVEN,
    ),
    "CreateRubric": obj(name=text(100, least=1), questions=QUESTIONS),
    "CurationAgreement": AGREEMENT,
    "CurationFeed": FEED,
    "CurationFeedList": listed("CurationFeed"),
    "CurationItem": ITEM,
    "CurationItemList": listed("CurationItem"),
    "CurationNext": obj(
        object={"const": "curation.next"}, work=or_null(ref("CurationWork"))
    ),
    "CurationResolution": RESOLUTION,
    "CurationResponse": RESPONSE,
    "CurationResponseList": listed("CurationResponse"),
    "CurationWork": WORK,
    "CurationImport": obj(
        object={"const": "curation.import"}, taken=COUNT, left=array(text())
    ),
    "Dataset": DATASET,
    "DatasetBuild": BUILD,
    "DatasetList": listed("Dataset"),
    "Decide": some(
        response_id=or_null(text(40, least=1)),
        answers=or_null(ANYTHING),
        note=or_null(text(NOTE_LENGTH)),
    ),
    "Judge": obj(
        "answers",
        version=noted("The newest one where it is not said.", or_null(COUNT)),
        answers=ANSWERS,
        state=one_of(Response.State.values),
        seconds=noted("How long the item was looked at.", {**NUMBER, "minimum": 0}),
    ),
    "Mark": MARK,
    "MarkAnswer": obj(
        "batch_id",
        "custom_id",
        batch_id=text(200, least=1),
        custom_id=text(512, least=1),
        starred=BOOLEAN,
        quality=or_null(whole(1, BEST)),
        tags=array(text(TAG_LENGTH, least=1), maxItems=MOST_TAGS),
        note=text(NOTE_OF_MARK),
    ),
    "MarkList": listed("Mark"),
    "Marked": obj(
        object={"const": "curation.marked"},
        mark=noted("null: nothing is left of it.", or_null(ref("Mark"))),
    ),
    "Queue": QUEUE,
    "QueueList": listed("Queue"),
    "Rework": obj(
        "item_ids",
        item_ids=array(text(least=1), minItems=1, maxItems=ITEMS_MOST),
        model=or_null(text(200, least=1)),
        body=or_null(ANYTHING),
        system_prompt=or_null(text(least=1)),
        note=or_null(text(NOTE_LENGTH)),
    ),
    "Rubric": RUBRIC,
    "RubricList": listed("Rubric"),
    "SendToQueue": obj(
        "batch_id",
        batch_id=text(least=1),
        beside=noted("Batches to compare with, by id.", or_null(array(text(least=1)))),
        rows=noted("Indexes of results; else `filter`.", or_null(array(COUNT))),
        filter=or_null(FILTER),
        how=one_of(Choosing.values),
        most=whole(1, MOST_SAMPLED),
        assigned_to=or_null(EMAIL),
    ),
    "TakeTasks": obj(file_id=noted("The file's id.", text(200, least=1))),
    "Skip": some(
        reason=or_null(text(REASON_LENGTH)),
        version=or_null(COUNT),
    ),
}

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
