# SPDX-License-Identifier: Apache-2.0
"""Datasets of what people resolved: read in slices, written as they come, never changed.

A million items take the memory of one slice.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction
from django.utils import timezone

from batchsite.accounts.models import Team, User
from jobs import disks, file_store, limits, outbox
from jobs.auditing import note
from jobs.models import BatchFile
from jobs.row_checks.parameters import bad, title

from .duplicates import Duplicates
from .examples import is_test
from .models import Candidate, Dataset, DatasetBuild, DatasetVersion, ReviewQueue
from .parts import PARTS, Part, only_json_keeps
from .personal import Redactor
from .raw import Examples, judgements
from .records import ALL, FORMATS, Accept, NotExported, Row, compared
from .sources import Source, judged, marked
from .specs import FEW_SHOT, RAW, Spec, check_spec

MANIFEST = "batchsite.dataset/1"
TRAIN, TEST = "train", "test"


def create_dataset(
    *, team: Team, name: str, user: User | None, address: str | None = None
) -> Dataset:
    """A dataset without versions; Refused for a name that the team has."""
    name = title("name", name)
    try:
        with transaction.atomic():
            dataset = Dataset.objects.create(team=team, name=name, created_by=user)
            note("dataset.create", dataset, user, address)
    except IntegrityError:
        if not Dataset.objects.filter(team=team, name=name).exists():
            raise
        raise bad("name", "the team has a dataset of this name.") from None
    return dataset


def build_version(
    *,
    dataset: Dataset,
    queues: Sequence[ReviewQueue],
    spec: Spec,
    user: User | None,
    address: str | None = None,
    beat: Callable[[], None] = lambda: None,
    build: DatasetBuild | None = None,
) -> DatasetVersion:
    """Make the next version of a dataset of what these queues resolved.

    `beat` is called while it is read. A `build` is done in the transaction that stores
    the version, so that none is made twice.

    Refused for queues of another team, conditions that a rubric does not know, and
    where no item makes a row: then nothing is stored.
    """
    accepts = check_spec(dataset, queues, spec)
    settings.SPOOL_DIR.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        parts = {
            name: PARTS[spec.file_format](
                stack.enter_context(tempfile.TemporaryFile(dir=settings.SPOOL_DIR))
            )
            for name in (TRAIN, TEST)
        }
        tally = Tally(
            Duplicates(spec.alike) if spec.alike is not None else None,
            Redactor() if spec.redact else None,
            Examples(most=spec.most, tokens=spec.tokens),
            beat,
        )
        for queue in queues:
            if spec.format == RAW:
                _write_raw(queue, spec, parts, tally)
            else:
                _write(judged(queue), spec, accepts[queue.pk], parts, tally)
        if spec.marks is not None:
            _write(marked(dataset.team, spec.marks), spec, ALL, parts, tally)
        _write_examples(spec, parts, tally)
        for part in parts.values():
            part.close()
        if not any(part.rows for part in parts.values()):
            raise bad("queues", f"no item makes a row: {tally.why_none}.")
        return _store(stack, dataset, queues, spec, parts, tally, user, address, build)


@dataclass
class Tally:
    """What went into a version, and why the rest did not."""

    duplicates: Duplicates | None = None
    redactor: Redactor | None = None
    examples: Examples = field(default_factory=lambda: Examples(most=1, tokens=1))
    beat: Callable[[], None] = lambda: None
    items: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)

    @property
    def why_none(self) -> str:
        """Why there is no row, in words."""
        reasons = [f"{why} ({n:,})" for why, n in self.left_out.most_common(3)]
        return ", ".join(reasons) or "nothing is resolved"


def _write(
    source: Source,
    spec: Spec,
    accept: Accept,
    parts: Mapping[str, Part],
    tally: Tally,
) -> None:
    """Rows of what is item; examples are only collected."""
    for item, candidates in source:
        tally.items += 1
        tally.beat()
        try:
            if tally.duplicates and not tally.duplicates.is_new(compared(item)):
                raise NotExported("it is like another one")
            if spec.format == FEW_SHOT:
                tally.examples.add(item, accept, candidates)
                continue
            # All rows of an item, or none.
            rows = list(FORMATS[spec.format](item, accept))
            if spec.file_format == "parquet" and any(map(only_json_keeps, rows)):
                raise NotExported("it calls tools, which Parquet has no columns for")
        except NotExported as why:
            tally.left_out[str(why)] += 1
            continue
        _put(rows, item.key, candidates, spec, parts, tally)


def _write_raw(
    queue: ReviewQueue, spec: Spec, parts: Mapping[str, Part], tally: Tally
) -> None:
    for key, rows, candidates in judgements(queue, pseudonyms=spec.pseudonyms):
        tally.items += 1
        tally.beat()
        _put(rows, key, candidates, spec, parts, tally)


def _write_examples(spec: Spec, parts: Mapping[str, Part], tally: Tally) -> None:
    count = 0
    for key, row, candidates in tally.examples.chosen():
        count += 1
        _put([row], key, candidates, spec, parts, tally)
    if passed_over := tally.examples.count - count:
        tally.left_out["others are better examples"] += passed_over


def _put(
    rows: Sequence[Row],
    key: str,
    candidates: Sequence[Candidate],
    spec: Spec,
    parts: Mapping[str, Part],
    tally: Tally,
) -> None:
    """Write an item's rows into its part, and note the answers that they are of."""
    test = is_test(key, share=spec.test_share, salt=spec.salt)
    for row in rows:
        shown = tally.redactor.row(row) if tally.redactor else row
        parts[TEST if test else TRAIN].write(shown)
    for candidate in candidates:
        tally.batches[candidate.batch_code] += 1
        tally.models[_model_of(candidate)] += 1


def _model_of(candidate: Candidate) -> str:
    revision = candidate.provenance.get("model_revision") or ""
    return f"{candidate.model}@{revision}" if revision else candidate.model


def _store(
    stack: contextlib.ExitStack,
    dataset: Dataset,
    queues: Sequence[ReviewQueue],
    spec: Spec,
    parts: Mapping[str, Part],
    tally: Tally,
    user: User | None,
    address: str | None,
    build: DatasetBuild | None,
) -> DatasetVersion:
    """Save the files, then all rows in one transaction: files that no row names go."""
    disks.check()
    limits.check_storage(team=dataset.team, more=sum(p.size for p in parts.values()))
    names = {}
    for name, part in parts.items():
        if part.rows:
            upload = UploadedFile(
                part.spool, name=f"{name}.{part.ending}", size=part.size
            )
            names[name] = stack.enter_context(file_store.stored(upload, "results"))
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        if build is not None:
            _check_wanted(build)
        newest = dataset.versions.order_by("-number").first()
        number = newest.number + 1 if newest else 1
        files = {
            name: _file(dataset, number, name, parts[name], names[name], user)
            for name in names
        }
        version = DatasetVersion.objects.create(
            dataset=dataset,
            number=number,
            format=spec.format,
            rows=parts[TRAIN].rows,
            test_rows=parts[TEST].rows,
            train_file=files.get(TRAIN),
            test_file=files.get(TEST),
            manifest_text=json.dumps(
                _manifest(dataset, number, queues, spec, parts, files, tally)
            ),
            created_by=user,
        )
        if build is not None:
            DatasetBuild.objects.filter(pk=build.pk).update(
                state=DatasetBuild.State.DONE,
                version=version,
                taken_until=None,
                ended_at=timezone.now(),
            )
        rows = parts[TRAIN].rows + parts[TEST].rows
        note("dataset.build", dataset, user, address, version=number, rows=rows)
        outbox.put_for_team(
            dataset.team,
            outbox.DATASET_READY,
            {
                "id": dataset.public_id,
                "version": number,
                "rows": version.rows,
                "test_rows": version.test_rows,
            },
        )
    return version


def _check_wanted(build: DatasetBuild) -> None:
    """Refused where another worker, which took this one for dead, has made it."""
    rows = DatasetBuild.objects.filter(pk=build.pk, state=DatasetBuild.State.WAITING)
    if not rows.exists():
        raise bad("build", "another worker has made this version.")


def _file(
    dataset: Dataset,
    number: int,
    name: str,
    part: Part,
    storage_name: str,
    user: User | None,
) -> BatchFile:
    file = BatchFile(
        team=dataset.team,
        created_by=user,
        filename=f"{dataset.public_id}_v{number}_{name}.{part.ending}",
        purpose=BatchFile.Purpose.FINE_TUNE,
        bytes=part.size,
        lines=part.rows,
        sha256=part.sha.hexdigest(),
        storage_name=storage_name,
    )
    file_store.add_row(file)
    return file


def _manifest(
    dataset: Dataset,
    number: int,
    queues: Sequence[ReviewQueue],
    spec: Spec,
    parts: Mapping[str, Part],
    files: Mapping[str, BatchFile],
    tally: Tally,
) -> dict[str, Any]:
    """What somebody needs who asks a year later where these rows come from."""
    return {
        "manifest": MANIFEST,
        "dataset": {"id": dataset.public_id, "name": dataset.name, "version": number},
        "created_at": timezone.now().isoformat(timespec="seconds"),
        "format": spec.format,
        "file_format": spec.file_format,
        "accept": dict(spec.accept),
        "marks": spec.marks and dict(spec.marks),
        "split": {"test_share": spec.test_share, "salt": spec.salt},
        "queues": [
            {
                "id": queue.public_id,
                "name": queue.name,
                "rubric": queue.rubric_version.rubric.public_id,
                "rubric_version": queue.rubric_version.number,
            }
            for queue in queues
        ],
        "alike": spec.alike,
        "redacted": dict(tally.redactor.found) if tally.redactor else None,
        "items": tally.items,
        "left_out": dict(tally.left_out),
        "lineage": {"batches": dict(tally.batches), "models": dict(tally.models)},
        "files": [
            {
                "part": name,
                "file": file.public_id,
                "rows": parts[name].rows,
                "bytes": file.bytes,
                "sha256": file.sha256,
            }
            for name, file in files.items()
        ],
    }
