# SPDX-License-Identifier: Apache-2.0
"""What curation's calls answer, as JSON schemas."""

from __future__ import annotations

from curation.models import (
    Choosing,
    DatasetBuild,
    Feed,
    Resolution,
    Response,
    ReviewItem,
)
from curation.models import ReviewQueue as Queue
from curation.models.marks import BEST
from curation.models.queues import MOST_OVERLAP
from curation.questions import FORMATS, GOALS, KINDS, QUESTIONS_MOST
from curation.specs import ALL_FORMATS as ROWS
from jobs.api.bodies import LATEST
from jobs.api.schema.objects import (
    ANYTHING,
    BOOLEAN,
    COUNT,
    UNIX,
    Schema,
    array,
    noted,
    obj,
    one_of,
    or_null,
    ref,
    text,
    whole,
)
from jobs.models import Batch

from ..params import GUIDELINES_LENGTH

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
RULE = obj(
    id=text(),
    object={"const": "curation.rule"},
    queue_id=text(),
    model=text(),
    tag=text(),
    endpoint=text(),
    filter=noted("Which of its answers.", ANYTHING),
    how=one_of(Choosing.values),
    most=COUNT,
    created_at=UNIX,
)
JUDGE_RUN = obj(
    id=text(),
    object={"const": "curation.judge_run"},
    queue_id=text(),
    batch_id=text(),
    status=one_of(Batch.Status.values),
    model=text(),
    items=COUNT,
    created_at=UNIX,
    standing=noted(
        "How it came out; null in lists.",
        or_null(
            obj(
                read=noted("Judgements that fit the rubric.", COUNT),
                unreadable=COUNT,
                failed=COUNT,
                questions=array(
                    obj(
                        key=text(),
                        items=COUNT,
                        percent=MAYBE,
                        cohen_kappa=MAYBE,
                        alpha=MAYBE,
                        f1=MAYBE,
                        labels=array(
                            obj(
                                label={"anyOf": [text(), BOOLEAN]},
                                people=COUNT,
                                judge=COUNT,
                                precision=SHARE,
                                recall=SHARE,
                                f1=SHARE,
                            )
                        ),
                    )
                ),
            )
        ),
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
