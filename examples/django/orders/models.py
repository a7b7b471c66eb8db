"""What the shop remembers."""

from django.core.validators import FileExtensionValidator, MaxValueValidator, MinValueValidator
from django.db import models


class Order(models.Model):
    """What somebody wants, how many of it, and perhaps a picture of it."""

    item = models.CharField(max_length=80)
    quantity = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(1000)])
    # Nothing that a browser would run as a page of ours.
    picture = models.FileField(
        blank=True, upload_to="pictures/", validators=[FileExtensionValidator(["gif", "jpeg", "jpg", "png", "webp"])]
    )
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-at",)

    def __str__(self) -> str:
        return f"{self.quantity} x {self.item}"
