# SPDX-License-Identifier: Apache-2.0
"""A large file from the browser, in parts that it may send again (static/js/upload.js).

The same uploads as those of /v1/uploads, for a session instead of a key.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from batchsite.accounts import permissions
from batchsite.accounts.models import Team
from jobs import parts
from jobs.access import person
from jobs.api.errors import as_api_error
from jobs.api.parsers import PART_BYTES
from jobs.models import Upload
from jobs.refusals import Refused
from jobs.uploads import SpooledUpload

from .new_start import ENDINGS, WRONG_ENDING, address_of, cloned_batch, life_of

# Small enough that little is sent twice, and that 1,000 parts are larger than any file.
PIECE_BYTES = 8_000_000
View = Callable[..., HttpResponse]


def told_as_json(view: View) -> View:
    """Refusals as `{"error": words}` with the API's status."""

    @wraps(view)
    def answer(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except (Refused, OSError) as error:
            told = as_api_error(error, request)
            if told is None:
                raise
            return JsonResponse({"error": told.message}, status=told.status)
        except PermissionDenied as error:
            return JsonResponse({"error": str(error)}, status=403)

    return answer


@require_POST
@login_required
@told_as_json
def upload_new(request: HttpRequest) -> HttpResponse:
    """Announce a file: `team`, `filename`, `bytes`."""
    user = person(request)
    key, size = (request.POST.get(name, "") for name in ("team", "bytes"))
    for name, text in (("team", key), ("bytes", size)):
        if not text.isdecimal() or not 0 < len(text) < 16:
            raise Refused(f"'{name}' must be a whole number.", param=name)
    team = get_object_or_404(Team.objects.visible_to(user), pk=min(int(key), 2**62))
    permissions.require(user, team, "files:write")
    filename = request.POST.get("filename", "")
    if not filename.lower().endswith(ENDINGS):
        raise Refused(WRONG_ENDING)
    upload = parts.create_upload(
        team=team,
        user=user,
        filename=filename,
        size=int(size),
        mime_type="application/octet-stream",
        **life_of(filename),
    )
    return JsonResponse(_state(upload))


@require_safe
@login_required
def upload_detail(request: HttpRequest, code: str) -> HttpResponse:
    """What has arrived, for a browser that goes on with it."""
    return JsonResponse(_state(get_upload(request, code)))


@require_POST
@login_required
@told_as_json
def upload_part(request: HttpRequest, code: str) -> HttpResponse:
    """Store the file field `data`; the same bytes again are the same part."""
    upload = get_upload(request, code)
    data = request.FILES.get("data")
    if not isinstance(data, SpooledUpload):
        raise Refused("The part has no file field 'data'.", param="data")
    data.too_large = data.too_large or (data.size or 0) > PART_BYTES
    return JsonResponse({"id": parts.add_part(upload=upload, data=data).public_id})


@require_POST
@login_required
@told_as_json
def upload_complete(request: HttpRequest, code: str) -> HttpResponse:
    """Make the file of the parts `part`, in their order, and say where to go next."""
    upload = get_upload(request, code)
    ids = request.POST.getlist("part")[: parts.MOST_PARTS]
    done = parts.complete_upload(upload=upload, part_ids=ids)
    assert done.file is not None  # a completed upload has one
    return JsonResponse({"next": address_of(done.file, clone=cloned_batch(request))})


@require_POST
@login_required
@told_as_json
def upload_cancel(request: HttpRequest, code: str) -> HttpResponse:
    """End the upload; its parts go. Repeating it is harmless."""
    return JsonResponse(_state(parts.cancel_upload(upload=get_upload(request, code))))


def get_upload(request: HttpRequest, code: str) -> Upload:
    """The upload, for those who may write files in its team; else 404 or 403."""
    user = person(request)
    found = Upload.objects.visible_to(user).find(code)
    if found is None:
        raise Http404("No such upload.")
    permissions.require(user, found.team, "files:write")
    return found


def _state(upload: Upload) -> dict[str, object]:
    return {
        "id": upload.public_id,
        "status": upload.status,
        "piece": PIECE_BYTES,
        "parts": [part.public_id for part in upload.parts.all()],
    }
