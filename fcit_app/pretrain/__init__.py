"""How the mini base model was pre-trained; run once by us, its weights ship with the package."""
