# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import cache

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Exists, ExpressionWrapper, OuterRef, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from jobs.health import closed_gates
from jobs.kept_sql import sql_of

# A heartbeat is written every 4 s; after 15 s without one its writer counts as gone.
HEARTBEAT_SECONDS = 4
STALE_SECONDS = 15


def database_time(offset_seconds: float = 0) -> Combinable:
    """The database's clock plus an offset, as an expression.

    Leases are written and compared by this one clock, so that hosts need not agree.
    """
    if not offset_seconds:
        return Now()
    return ExpressionWrapper(
        Now() + timedelta(seconds=offset_seconds), output_field=models.DateTimeField()
    )


class ServedModelQuerySet(models.QuerySet["ServedModel"]):
    def enabled(self) -> ServedModelQuerySet:
        """Models that batches may name; an adapter as long as its base is one."""
        enabled = ServedModel.State.ENABLED
        base = Q(base__isnull=True) | Q(base__state=enabled)
        return self.filter(base, state=enabled)

    def loadable(self) -> ServedModelQuerySet:
        """Models that managed engines can load."""
        return self.enabled().exclude(source="").exclude(base__source="")

    def placed_on(self, engine: Engine) -> ServedModelQuerySet:
        """Models that the managed engine may load: pinned to it, or pinned nowhere.

        The latter only if it is not reserved. An adapter goes where its base goes.
        """
        pins = ServedModel.engines.through._default_manager.filter(
            servedmodel_id=Coalesce(OuterRef("base_id"), OuterRef("pk"))
        )
        here = Exists(pins.filter(engine_id=engine.pk))
        return self.filter(here if engine.reserved else here | ~Exists(pins))


class ServedModel(models.Model):
    """A model by its public name, the one that requests carry.

    `source` is a Hugging Face id or a local path; empty when only external engines
    serve the model. With a `base` it is a LoRA adapter, which an engine that has the
    base loaded serves beside it.
    """

    class State(models.TextChoices):
        ENABLED = "enabled"
        DISABLED = "disabled"
        FAILED = "failed"

    name = models.CharField(max_length=200, unique=True)
    source = models.CharField(max_length=500, blank=True)
    revision = models.CharField(max_length=100, blank=True)
    engine_args = models.JSONField(
        default=list, blank=True, help_text="Arguments for vLLM, as a list of strings."
    )
    base = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="adapters",
        help_text="The model that this LoRA adapter belongs to.",
    )
    engines = models.ManyToManyField(
        "jobs.Engine",
        blank=True,
        related_name="pinned_models",
        limit_choices_to={"kind": "managed"},
        help_text="The managed engines that may load it; none chosen: any of them.",
    )
    request_timeout = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Seconds for one try of one request; empty: the site's limit.",
    )
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.ENABLED
    )
    state_reason = models.TextField(blank=True)
    load_failures = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ServedModelQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["enabled", "disabled", "failed"]),
                name="model_state_known",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_loadable(self) -> bool:
        """As ServedModelQuerySet.loadable() says."""
        parts = [self, self.base] if self.base else [self]
        return all(m.source and m.state == self.State.ENABLED for m in parts)

    def clean(self) -> None:
        """Refuse what cannot be an adapter, in words; ValidationError."""
        base = self.base
        if base is None:
            return
        if base == self or base.base_id is not None:
            raise ValidationError(f"{base} cannot be a base: it is an adapter itself.")
        if self.pk and self.adapters.exists():
            raise ValidationError(f"{self} has adapters: it cannot be one.")
        if not base.source:
            raise ValidationError(
                f"{base} is served by external engines only; an adapter needs a base"
                " that managed engines load."
            )
        if self.engine_args or self.revision:
            raise ValidationError(
                "An adapter has no engine arguments and no revision of its own. vLLM"
                f" takes the arguments of {base}; download another revision into a"
                " folder and name that as the source."
            )


@cache
def _named_sql() -> str:
    """Asks for the engine of a name."""
    return sql_of(Engine.objects.filter(name="name").order_by(), "name")


class EngineQuerySet(models.QuerySet["Engine"]):
    def with_live_worker(self) -> EngineQuerySet:
        """Engines whose worker gave a sign of life in the last 15 s."""
        return self.filter(worker_heartbeat__gt=database_time(-STALE_SECONDS))

    def read(self, name: str) -> Engine:
        """The engine of that name, Engine.DoesNotExist; for who asks twice a second."""
        for engine in self.raw(_named_sql(), [name]):
            return engine
        raise Engine.DoesNotExist(name)

    def served_by_up(self, own: Collection[str]) -> EngineQuerySet:
        """Engines whose workers `manage.py up` runs: its own and all external ones."""
        return self.filter(
            Q(kind=Engine.Kind.EXTERNAL) | Q(kind=Engine.Kind.MANAGED, name__in=own)
        )


class Engine(models.Model):
    """An OpenAI-compatible HTTP server that runs requests.

    One writer per column: the host (`runengine`) writes state, loaded_model,
    loaded_adapters, generation, load_seconds, incident_deaths and the gauges; the engine
    worker writes wanted_model (comparing the generation), in_flight, fault and gates;
    people write paused, which the host sets once when it gives up after too many
    deaths, drained, restart_of, asked and reserved.
    """

    class Kind(models.TextChoices):
        MANAGED = "managed"
        EXTERNAL = "external"

    class State(models.TextChoices):
        STOPPED = "stopped"
        LOADING = "loading"
        READY = "ready"
        DRAINING = "draining"
        STOPPING = "stopping"
        FAILED = "failed"

    name = models.CharField(max_length=50, unique=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    base_url = models.CharField(max_length=500, blank=True)
    api_key_env = models.CharField(
        max_length=100,
        blank=True,
        help_text="Name of the environment variable that holds the engine's key.",
    )
    gpu_ids = models.CharField(
        max_length=100,
        blank=True,
        help_text="CUDA_VISIBLE_DEVICES of a managed engine.",
    )
    socket_path = models.CharField(max_length=200, blank=True)
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.STOPPED
    )
    state_reason = models.TextField(
        blank=True, help_text="What it is doing or what is wrong, in words."
    )
    state_since = models.DateTimeField(default=timezone.now)
    generation = models.PositiveIntegerField(default=0)
    load_seconds = models.FloatField(
        default=0.0, help_text="How long the load of the loaded model took."
    )
    loaded_model = models.ForeignKey(
        ServedModel, models.SET_NULL, null=True, blank=True, related_name="loaded_on"
    )
    wanted_model = models.ForeignKey(
        ServedModel, models.SET_NULL, null=True, blank=True, related_name="wanted_on"
    )
    loaded_adapters = models.JSONField(
        default=dict,
        blank=True,
        help_text="Adapters that it serves beside the loaded model: name to source.",
    )
    in_flight = models.PositiveIntegerField(default=0)
    paused = models.BooleanField(default=False)
    drained = models.BooleanField(
        default=False,
        help_text="While paused: the model of a managed engine is unloaded, too.",
    )
    restart_of = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="The start (generation) that people want ended and begun anew.",
    )
    asked = models.JSONField(
        default=dict,
        blank=True,
        help_text="What people asked of it last: verb, by, at (unix seconds), reason.",
    )
    gates = models.JSONField(
        default=dict,
        blank=True,
        help_text="Readings for which the worker claims nothing, and earlier ones.",
    )
    reserved = models.BooleanField(
        default=False, help_text="Load only the models that are pinned to it."
    )
    incident_deaths = models.PositiveSmallIntegerField(
        default=0, help_text="How often it ended unasked in the present incident."
    )
    fault = models.TextField(
        blank=True, help_text="Why the worker claims nothing just now, in words."
    )
    version = models.CharField(max_length=100, blank=True)
    gauges = models.JSONField(
        default=dict,
        blank=True,
        help_text="Last reading of vLLM's and the GPUs' gauges.",
    )
    host_token = models.CharField(max_length=200, blank=True)
    host_heartbeat = models.DateTimeField(null=True, blank=True)
    worker_token = models.CharField(max_length=200, blank=True)
    worker_heartbeat = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = EngineQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="managed", base_url="")
                | Q(kind="external") & ~Q(base_url=""),
                name="engine_managed_or_url",
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=[
                        "stopped",
                        "loading",
                        "ready",
                        "draining",
                        "stopping",
                        "failed",
                    ]
                ),
                name="engine_state_known",
            ),
            models.CheckConstraint(
                condition=~Q(kind="managed", state="ready")
                | ~Q(socket_path="") & Q(loaded_model__isnull=False),
                name="engine_ready_serves_a_model",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def queue(self) -> str:
        """The django-q2 queue of this engine's worker."""
        return f"engine-{self.name}"

    @property
    def hold(self) -> str:
        """ "paused" or "drained" by people; "" for neither."""
        if not self.paused:
            return ""
        return "drained" if self.drained else "paused"

    @property
    def gate_reasons(self) -> list[str]:
        """Why the worker claims nothing, by readings of GPUs and disks, in words."""
        return [gate.reason for gate in closed_gates(self.gates)]

    def served_names(self) -> list[str]:
        """What a managed engine has loaded: the model and its adapters, by name."""
        model = self.loaded_model
        return [model.name, *sorted(self.loaded_adapters)] if model else []


class EngineModel(models.Model):
    """An external engine serves this model, perhaps by another name."""

    engine = models.ForeignKey(Engine, models.CASCADE, related_name="serves")
    served_model = models.ForeignKey(
        ServedModel, models.CASCADE, related_name="served_by"
    )
    remote_name = models.CharField(max_length=200)
    window = models.PositiveIntegerField(
        default=64, help_text="Most requests in flight at once."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["engine", "served_model"], name="engine_model_once"
            ),
            models.CheckConstraint(
                condition=Q(window__gte=1), name="engine_model_window_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.served_model} on {self.engine}"


class WorkerProcess(models.Model):
    """A running control worker, by its token; engine workers show on their Engine."""

    token = models.CharField(max_length=200, unique=True)
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat = models.DateTimeField()
    trouble = models.TextField(
        blank=True, help_text="Why intake and the writing of files wait, in words."
    )

    class Meta:
        verbose_name_plural = "worker processes"
        ordering = ["token"]

    def __str__(self) -> str:
        return self.token


class Measurement(models.Model):
    """How fast a model ran on an engine within an hour; estimates use it.

    Work of the same set-up, with about as many requests at once, is added up in one
    row. `seconds` is the engine's time that the model had: where batches of other
    models ran at the same time, its share of the requests in flight.
    """

    served_model = models.ForeignKey(
        ServedModel, models.CASCADE, related_name="measurements"
    )
    engine = models.ForeignKey(Engine, models.SET_NULL, null=True)
    hardware = models.CharField(max_length=200, blank=True)
    revision = models.CharField(max_length=100, blank=True)
    engine_args = models.TextField(blank=True)
    window = models.PositiveIntegerField(default=0)
    rows = models.PositiveIntegerField()
    input_tokens = models.PositiveBigIntegerField()
    cached_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField()
    seconds = models.FloatField(help_text="Seconds of the engine with requests.")
    latency_seconds = models.FloatField(
        default=0.0, help_text="The sum over the requests."
    )
    request_seconds = models.FloatField(
        default=0.0, help_text="Requests in flight, added up over time."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [
            models.Index(
                fields=["served_model", "-created_at"], name="measurement_of_model"
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(seconds__gt=0), name="measurement_took_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.served_model}: {self.speed:.0f} tok/s"

    @property
    def speed(self) -> float:
        """Output tokens a second."""
        return self.output_tokens / self.seconds

    @property
    def latency(self) -> float:
        """Mean seconds from sending a request to its answer."""
        return self.latency_seconds / self.rows if self.rows else 0.0

    @property
    def concurrency(self) -> float:
        """Mean requests in flight."""
        return self.request_seconds / self.seconds


class ThroughputSample(models.Model):
    """What came of one batch on one engine in a stretch of time that ends at `at`.

    Ten seconds each; older ones are rolled up, see jobs/ring.py. There may be several
    of one stretch: readers add them up.
    """

    batch = models.ForeignKey(
        "jobs.Batch", models.CASCADE, related_name="throughput_samples"
    )
    engine = models.ForeignKey(Engine, models.CASCADE)
    at = models.DateTimeField(default=timezone.now)
    resolution = models.PositiveSmallIntegerField(
        default=10, help_text="Seconds that a sample of its kind has: 10, 60 or 600."
    )
    seconds = models.FloatField()
    rows = models.PositiveIntegerField()
    input_tokens = models.PositiveBigIntegerField()
    output_tokens = models.PositiveBigIntegerField()
    engine_seconds = models.FloatField(
        default=0.0,
        help_text="The engine's time that the batch had: its share of the requests in"
        " flight, added up over time.",
    )
    request_seconds = models.FloatField(
        default=0.0, help_text="The batch's requests in flight, added up over time."
    )

    class Meta:
        indexes = [
            models.Index(fields=["batch", "-at"], name="sample_of_batch"),
            # read by the roll-up, by looks at the queue and at what has stalled
            models.Index(fields=["resolution", "at"], name="sample_by_age"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(seconds__gt=0), name="sample_took_time")
        ]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.at:%H:%M:%S} {self.rows} rows"
