# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from .builds import DatasetBuild
from .datasets import Dataset, DatasetVersion
from .feeds import Choosing, Feed, FeedRule
from .items import (
    Candidate,
    Claim,
    ItemVersion,
    Resolution,
    Response,
    ReviewEvent,
    ReviewItem,
    Skip,
)
from .judges import JudgeRun
from .marks import Mark
from .queues import ReviewQueue
from .reworks import Rework
from .rubrics import Rubric, RubricVersion

__all__ = [
    "Candidate",
    "Choosing",
    "Claim",
    "Dataset",
    "DatasetBuild",
    "DatasetVersion",
    "Feed",
    "FeedRule",
    "ItemVersion",
    "JudgeRun",
    "Mark",
    "Resolution",
    "Response",
    "ReviewEvent",
    "ReviewItem",
    "ReviewQueue",
    "Rework",
    "Rubric",
    "RubricVersion",
    "Skip",
]
