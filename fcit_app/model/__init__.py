"""The base model, LoRA adapters, the subspace bank and its selective activation."""

import logging

# PEFT imports bitsandbytes where it is installed, which then warns of a faster kernel for 4-bit
# weights that it cannot fetch: no news to somebody who has not asked for such weights.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
