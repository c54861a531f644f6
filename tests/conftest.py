import signal

import torch

# A background job of a shell starts with Ctrl-C ignored, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)  # tests share the machine's cores with Ray's workers and with each other
