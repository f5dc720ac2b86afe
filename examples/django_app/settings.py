"""A small project that was there before; `plano_asgi_django` and `PLANO` make it a routed one."""

import os
from pathlib import Path

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "only for this example")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
INSTALLED_APPS = ["plano_asgi_django"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "plano_asgi_django.PlanoMiddleware",
]
ROOT_URLCONF = "chat"
DATA_UPLOAD_MAX_MEMORY_SIZE = 10_485_760  # as `limits.body_bytes`, for calls with images
PLANO = {"config_file": Path(__file__).parent / "plano.yaml"}
