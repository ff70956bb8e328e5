"""The commands of `fcit`, one file each; heavy packages are imported when a command needs them."""
