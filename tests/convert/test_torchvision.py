"""torchvision's classifiers: they convert exactly."""

import pytest
import torch
from torch import nn

import fastsnn

models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")

CLASSES = 10
# images no larger than the architecture needs: time goes into tracing, not into pixels
SIZES = {
    "vit_b_16": 32,
    "maxvit_t": 32,
    "swin_t": 32,
    "efficientnet_b0": 32,
    "mobilenet_v3_small": 32,
    "inception_v3": 96,
    "alexnet": 64,
    "vgg11": 32,
    "vgg16": 32,
    "vgg11_bn": 32,
    "vgg16_bn": 32,
}
CONVERT = [
    "alexnet", "vgg11", "vgg11_bn", "vgg16", "vgg16_bn", "resnet18", "resnet34", "resnet50", "resnext50_32x4d",
    "wide_resnet50_2", "squeezenet1_1", "regnet_x_400mf", "densenet121", "googlenet", "inception_v3", "mobilenet_v2",
    "mnasnet1_0", "shufflenet_v2_x1_0", "regnet_y_400mf", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny",
    "vit_b_16", "swin_t", "maxvit_t",
]  # fmt: skip
SLOW = {"wide_resnet50_2", "densenet121", "inception_v3", "efficientnet_b0"}
# in short, since their tracing takes half a minute otherwise, and what attention is made of is there
SHORT = {
    "vit_b_16": lambda: models.VisionTransformer(32, 8, 2, 2, 24, 48, num_classes=CLASSES),
    "swin_t": lambda: models.SwinTransformer([4, 4], 24, [2, 2], [3, 6], [4, 4], num_classes=CLASSES),
    "maxvit_t": lambda: models.MaxVit((32, 32), 8, 2, [8, 16], [1, 1], 4, 0.0, num_classes=CLASSES),
}


def build(name):
    options = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    model = SHORT[name]() if name in SHORT else getattr(models, name)(weights=None, num_classes=CLASSES, **options)
    if name in SHORT:
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.15)
    if name.startswith("vgg"):
        # 120 million weights of the classifier take a gigabyte in float64, and are no other code than these
        layers = nn.Linear(25088, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, CLASSES)
        model.classifier = nn.Sequential(*layers)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            # what training leaves behind, so that folding has something to get wrong
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.7, 1.3)
    return model.eval()


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in CONVERT])
def test_without_clipping_it_is_the_network(name):
    torch.manual_seed(1)
    model, size = build(name), SIZES.get(name, 64)
    x = torch.randn(2, 3, size, size)
    snn = fastsnn.convert(model, x, precision="float32", timesteps=2, threshold="max")
    with torch.no_grad():
        wanted = model(x)
    assert ((snn.analog(x, clip=False) - wanted).abs().max() / wanted.abs().max()).item() < 1e-4
    logits = snn(x)
    assert logits.shape == (2, CLASSES) and logits.isfinite().all()
    assert all((theta > 0).all() for theta in snn.thresholds.values())
