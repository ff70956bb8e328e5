"""``python -m fcit_app.pretrain --seed 0 --out DIR``."""

from fcit_app.pretrain.train import app

app()
