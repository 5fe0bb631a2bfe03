# SPDX-License-Identifier: Apache-2.0
"""What curation's calls take; and all its objects by their names."""

from __future__ import annotations

from curation.judging import MOST_ITEMS, WORDS_LENGTH
from curation.marking import MOST_TAGS, TAG_LENGTH
from curation.marking import NOTE_LENGTH as NOTE_OF_MARK
from curation.models import (
    Choosing,
    Response,
)
from curation.models import ReviewQueue as Queue
from curation.models.feeds import MOST_SAMPLED
from curation.models.marks import BEST
from curation.parts import PARTS
from curation.specs import ALL_FORMATS as ROWS
from curation.tending import PRIORITY
from jobs.api.schema.filters import RESULT_FILTER
from jobs.api.schema.objects import (
    ANYTHING,
    BOOLEAN,
    COUNT,
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

from ..params import ITEMS_MOST, NOTE_LENGTH, REASON_LENGTH
from .answered import (
    AGREEMENT,
    ANSWERS,
    BUILD,
    DATASET,
    EMAIL,
    FEED,
    GIVEN,
    ITEM,
    JUDGE_RUN,
    MARK,
    NUMBER,
    PEOPLE,
    QUESTIONS,
    QUEUE,
    RESOLUTION,
    RESPONSE,
    RUBRIC,
    RULE,
    WORK,
)

SCHEMAS: dict[str, Schema] = {
    "AskJudge": obj(
        "model",
        model=text(200, least=1),
        most=noted("Of the newest decided items.", whole(1, MOST_ITEMS)),
        words=noted("Told to the judge before the questions.", text(WORDS_LENGTH)),
    ),
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
    "JudgeRun": JUDGE_RUN,
    "JudgeRunList": listed("JudgeRun"),
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
    "CurationRule": RULE,
    "CurationRuleList": listed("CurationRule"),
    "DeletedRule": obj(
        id=text(), object={"const": "curation.rule"}, deleted={"const": True}
    ),
    "FeedByRule": some(
        model=noted("Only batches of it; empty: of any.", text(200)),
        tag=text(64),
        endpoint=text(64),
        filter=or_null(RESULT_FILTER),
        how=one_of([one for one in Choosing.values if one != Choosing.DISAGREEMENT]),
        most=whole(1, MOST_SAMPLED),
    ),
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
        filter=or_null(RESULT_FILTER),
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
