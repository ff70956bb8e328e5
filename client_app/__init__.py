"""What a client does: say who it is, give its identity token, fine-tune an adapter on its data."""
