"""Makes the table of orders."""

from django.core.validators import FileExtensionValidator, MaxValueValidator, MinValueValidator
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("item", models.CharField(max_length=80)),
                (
                    "quantity",
                    models.PositiveIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(1000)]),
                ),
                (
                    "picture",
                    models.FileField(
                        blank=True,
                        upload_to="pictures/",
                        validators=[FileExtensionValidator(["gif", "jpeg", "jpg", "png", "webp"])],
                    ),
                ),
                ("at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"ordering": ("-at",)},
        ),
    )
