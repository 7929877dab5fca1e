import os
import subprocess
import sys

STEP = """
import sys, torch
from oiv5_d2.training import compat
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.9)
weight.sum().backward()
optimizer.step()
assert weight.tolist() == [0.5, 0.5], weight
assert not {"sympy", "torch._dynamo.utils"} & set(sys.modules)
"""
WAKE = """
double = torch.compile(lambda value: 2 * value, backend="eager")
assert double(weight).tolist() == [1.0, 1.0]
assert torch._dynamo is sys.modules["torch._dynamo"] and torch._dynamo.__file__
optimizer.step()
from torchvision.ops import roi_align
image = torch.ones((1, 1, 4, 4))
assert roi_align(image, [torch.tensor([[0.0, 0.0, 2.0, 2.0]])], 2).shape == (1, 1, 2, 2)
"""


def test_a_step_is_made_while_the_compiler_sleeps_and_it_wakes_when_needed():
    command = [sys.executable, "-c", STEP + WAKE]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
