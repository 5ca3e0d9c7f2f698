"""Networks for 32x32 images as the conversion papers have them, with ReLUs; `fastsnn.train.prepare` bounds these."""

from fastsnn.models.resnet import ResNet, resnet18, resnet20
from fastsnn.models.vgg import VGG, vgg16, vgg16_half, vgg16_narrow

__all__ = ["VGG", "ResNet", "resnet18", "resnet20", "vgg16", "vgg16_half", "vgg16_narrow"]
