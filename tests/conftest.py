import torch

torch.set_num_threads(1)  # tests share the machine's cores with Ray's workers and with each other
