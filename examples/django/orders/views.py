"""The order page, and a few routes that show what serves them."""

from __future__ import annotations

import os
import socket
import time

from django.conf import settings
from django.db import connection
from django.forms import modelform_factory
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from orders.models import Order

OrderForm = modelform_factory(Order, fields=["item", "quantity", "picture"])


def say_release(get_response):
    """Every answer tells which release gave it: watch a roll-out with `curl -i`."""

    def answer(request):
        response = get_response(request)
        response["X-Release-Note"] = settings.RELEASE_NOTE
        return response

    return answer


def index(request):
    form = OrderForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("index")
    status = 400 if form.errors else 200
    return render(request, "orders/index.html", {"form": form, "orders": Order.objects.all()[:50]}, status=status)


@require_GET
def healthz(_request):
    """Healthy means: this process answers and its database does too."""
    connection.ensure_connection()
    return HttpResponse("ok\n", content_type="text/plain")


@require_GET
def whoami(request):
    """What the app sees of a request, and which instance of which release sees it."""
    return JsonResponse(
        {
            "app": "shop",
            "scheme": request.scheme,
            "host": request.get_host(),
            "client": request.META["REMOTE_ADDR"],
            "path": request.get_full_path(),
            "instance": f"{socket.gethostname()}:{os.getpid()}",
            "release_note": settings.RELEASE_NOTE,
        }
    )


@csrf_exempt  # changes nothing, so there is nothing to forge
@require_POST
def echo(request):
    return HttpResponse(request.body, content_type="application/octet-stream")


@require_GET
def slow(request):
    """Takes its time, as a report would; a roll-out must not cut it off."""
    try:
        seconds = min(20.0, max(0.0, float(request.GET.get("seconds", 2))))
    except ValueError:
        return HttpResponse("seconds should be a number\n", status=400, content_type="text/plain")
    time.sleep(seconds)
    return HttpResponse(f"slept {seconds:g} s\n", content_type="text/plain")
