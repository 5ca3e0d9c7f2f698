"""Small odd networks of the kinds that people write: each one makes the converter see something the others do not."""

import torch
import torch.nn.functional as F
from torch import nn

ZOO = {}


def entry(function):
    """Registers a network: the function has no arguments and returns a module for inputs [B, 3, 12, 12]."""
    ZOO[function.__name__] = function
    return function


class Body(nn.Module):
    """Named modules and a forward given as a function of (modules, x)."""

    def __init__(self, forward, **modules):
        super().__init__()
        for name, value in modules.items():
            setattr(self, name, value)
        self.body = forward

    def forward(self, x):
        return self.body(self, x)


class Subclass(nn.ReLU):
    pass


class Clip(nn.Module):
    """An activation with a learned bound."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(1.3))

    def forward(self, x):
        return torch.clamp(x, torch.zeros_like(self.theta), self.theta)


class Quantised(nn.Module):
    """A bound written as a division, a clip to 1, and a product: an affine map on either side of the activation."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(1.7))

    def forward(self, x):
        return torch.clamp(x / self.theta, 0, 1) * self.theta


def conv(inputs, outputs, kernel=3, **options):
    if "padding" not in options:
        options["padding"] = kernel // 2
    return nn.Conv2d(inputs, outputs, kernel, **options)


def gap(x):
    return x.mean((2, 3))


def plain(activation):
    return nn.Sequential(conv(3, 6), activation(), conv(6, 5), activation(), Lambda(gap), nn.Linear(5, 4))


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


# ---- whole architectures


@entry
def vgg_average():
    return nn.Sequential(
        conv(3, 6), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2), conv(6, 8), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 4),
    )  # fmt: skip


def _residual(shortcut, **modules):
    def forward(m, x):
        x = F.relu(m.n0(m.c0(x)))
        y = m.n2(m.c2(F.relu(m.n1(m.c1(x)))))
        return m.fc(gap(F.relu(y + shortcut(m, x))))

    return Body(
        forward, c0=conv(3, 4), n0=nn.BatchNorm2d(4), c1=conv(4, 8, stride=2), n1=nn.BatchNorm2d(8), c2=conv(8, 8),
        n2=nn.BatchNorm2d(8), fc=nn.Linear(8, 4), **modules,
    )  # fmt: skip


@entry
def resnet_option_a_pad():
    return _residual(lambda m, x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))


@entry
def resnet_option_a_cat():
    return _residual(lambda m, x: torch.cat([x[:, :, ::2, ::2], torch.zeros(x.shape[0], 4, 6, 6, dtype=x.dtype)], 1))


@entry
def resnet_option_a_times_zero():
    return _residual(lambda m, x: torch.cat([F.avg_pool2d(x, 2), F.avg_pool2d(x, 2).mul(0)], 1))


@entry
def resnet_option_a_zeros_like():
    return _residual(lambda m, x: torch.cat([F.avg_pool2d(x, 2), torch.zeros_like(F.avg_pool2d(x, 2))], 1))


@entry
def resnet_option_b():
    return _residual(lambda m, x: m.d(x), d=nn.Sequential(conv(4, 8, 1, stride=2), nn.BatchNorm2d(8)))


@entry
def resnet_preactivation():
    def forward(m, x):
        x = m.c0(x)
        for norm1, conv1, norm2, conv2 in m.blocks:
            x = x + conv2(F.relu(norm2(conv1(F.relu(norm1(x))))))
        return m.fc(gap(F.relu(m.norm(x))))

    block = [nn.ModuleList([nn.BatchNorm2d(5), conv(5, 5), nn.BatchNorm2d(5), conv(5, 5)]) for _ in range(2)]
    return Body(forward, c0=conv(3, 5), blocks=nn.ModuleList(block), norm=nn.BatchNorm2d(5), fc=nn.Linear(5, 4))


@entry
def densenet():
    def forward(m, x):
        x = m.c0(x)
        x = torch.cat([x, m.c1(F.relu(m.n1(x)))], 1)
        x = torch.cat([x, m.c2(F.relu(m.n2(x)))], 1)
        return m.fc(gap(F.relu(m.n3(F.avg_pool2d(m.t(F.relu(m.n4(x))), 2)))))

    return Body(
        forward, c0=conv(3, 4), n1=nn.BatchNorm2d(4), c1=conv(4, 3), n2=nn.BatchNorm2d(7), c2=conv(7, 3),
        n4=nn.BatchNorm2d(10), t=conv(10, 5, 1), n3=nn.BatchNorm2d(5), fc=nn.Linear(5, 4),
    )  # fmt: skip


@entry
def inception():
    def forward(m, x):
        x = F.relu(m.c0(x))
        x = torch.cat([F.relu(m.c1(x)), F.relu(m.c3(x)), F.relu(m.c5(F.avg_pool2d(x, 3, 1, 1)))], 1)
        return m.fc(gap(F.relu(m.last(x))))

    return Body(
        forward, c0=conv(3, 4), c1=conv(4, 2, 1), c3=conv(4, 3), c5=conv(4, 2, 5), last=conv(7, 5, stride=2),
        fc=nn.Linear(5, 4),
    )  # fmt: skip


@entry
def shufflenet():
    def shuffle(x):
        b, c, h, w = x.shape
        return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)

    def forward(m, x):
        x = F.relu(m.c0(x))
        for first, depthwise, last in m.units:
            left, right = x.chunk(2, dim=1)
            right = F.relu(last(depthwise(F.relu(first(right)))))
            x = shuffle(torch.cat((left, right), dim=1))
        return m.fc(gap(x))

    units = [nn.ModuleList([conv(3, 3, 1), conv(3, 3, groups=3), conv(3, 3, 1)]) for _ in range(2)]
    return Body(forward, c0=conv(3, 6), units=nn.ModuleList(units), fc=nn.Linear(6, 4))


@entry
def mobilenet_linear_bottleneck():
    def forward(m, x):
        x = m.c0(x)
        x = x + m.block(x)
        return m.fc(gap(F.relu6(m.last(x + m.block(x)))))

    block = nn.Sequential(
        conv(4, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True), conv(8, 8, groups=8), nn.BatchNorm2d(8),
        nn.ReLU6(inplace=True), conv(8, 4, 1, bias=False), nn.BatchNorm2d(4),
    )  # fmt: skip
    return Body(forward, c0=conv(3, 4, stride=2), block=block, last=conv(4, 6, 1), fc=nn.Linear(6, 4))


@entry
def squeezenet_head():
    def forward(m, x):
        x = F.relu(m.c0(x))
        x = F.relu(m.squeeze(x))
        x = torch.cat([F.relu(m.e1(x)), F.relu(m.e3(x))], 1)
        return torch.flatten(F.adaptive_avg_pool2d(F.relu(m.last(x)), (1, 1)), 1)

    return Body(
        forward, c0=conv(3, 6), squeeze=conv(6, 3, 1), e1=conv(3, 4, 1), e3=conv(3, 4), last=conv(8, 4, 1)
    )  # fmt: skip


@entry
def unet():
    def forward(m, x):
        a = F.relu(m.a(x))
        b = F.relu(m.b(F.avg_pool2d(a, 2)))
        c = F.relu(m.c(F.avg_pool2d(b, 2)))
        b = F.relu(m.up_b(torch.cat([F.interpolate(c, scale_factor=2), b], 1)))
        a = F.relu(m.up_a(torch.cat([F.interpolate(b, size=(12, 12)), a], 1)))
        return m.out(a)

    return Body(
        forward, a=conv(3, 4), b=conv(4, 5), c=conv(5, 6), up_b=conv(11, 5), up_a=conv(9, 4), out=conv(4, 2, 1)
    )  # fmt: skip


@entry
def mlp_residual():
    def forward(m, x):
        x = F.relu(m.n(m.a(x.flatten(1))))
        x = F.relu(x + m.b(x))
        return m.d(x + F.relu(m.c(x)))

    return Body(
        forward, a=nn.Linear(432, 12), n=nn.BatchNorm1d(12), b=nn.Linear(12, 12), c=nn.Linear(12, 12),
        d=nn.Linear(12, 4),
    )  # fmt: skip


@entry
def conv1d():
    return nn.Sequential(
        nn.Flatten(2), nn.Conv1d(3, 5, 5, stride=2, padding=2), nn.BatchNorm1d(5), nn.ReLU(), nn.AvgPool1d(3, 2),
        nn.Conv1d(5, 6, 3, dilation=2, groups=1), nn.ReLU(), nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(12, 4),
    )  # fmt: skip


@entry
def conv3d():
    return nn.Sequential(
        nn.Unflatten(2, (3, 4)), nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.AvgPool3d((1, 2, 2)),
        nn.Conv3d(4, 5, (3, 2, 1), stride=(1, 1, 2)), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(5, 4),
    )  # fmt: skip


@entry
def tokens():
    """Linear layers over the last of several dimensions."""

    def forward(m, x):
        x = x.flatten(2).transpose(1, 2)
        x = F.relu(m.a(x))
        x = F.relu(x + m.b(x))
        return m.c(x.transpose(1, 2).mean(-1))

    return Body(forward, a=nn.Linear(3, 6), b=nn.Linear(6, 6), c=nn.Linear(6, 4))


# ---- who reads what


@entry
def one_relu_for_all():
    def forward(m, x):
        x = m.relu(m.a(x))
        x = m.relu(x + m.b(x))
        return m.fc(gap(m.relu(m.b(x))))

    return Body(forward, a=conv(3, 5), b=conv(5, 5), relu=nn.ReLU(inplace=True), fc=nn.Linear(5, 4))


@entry
def relu_read_twice():
    def forward(m, x):
        x = F.relu(m.a(x))
        y = F.relu(m.b(x))
        return m.fc(gap(F.relu(m.c(y) + x) + y))

    return Body(forward, a=conv(3, 5), b=conv(5, 5), c=conv(5, 5), fc=nn.Linear(5, 4))


@entry
def sum_read_twice():
    """A sum that a neuron, an addition and the head read, so that it has to be kept as numbers."""

    def forward(m, x):
        x = m.a(x)
        y = x + m.b(F.relu(x))
        return m.fc(gap(F.relu(m.c(F.relu(y))) + y))

    return Body(forward, a=conv(3, 5), b=conv(5, 5), c=conv(5, 5), fc=nn.Linear(5, 4))


@entry
def arithmetic():
    def forward(m, x):
        a = F.relu(m.a(x))
        b = F.relu(m.b(a))
        c = F.relu(torch.add(m.c(b), a, alpha=0.5) - b + 1.25 * m.b(b) / 2 - 0.3)
        d = F.relu(0.7 - torch.sub(c, a, alpha=2) + (b + b))
        return m.fc(gap(d)) * 3 - 1

    return Body(forward, a=conv(3, 5), b=conv(5, 5), c=conv(5, 5), fc=nn.Linear(5, 4))


@entry
def raw_input_added_later():
    def forward(m, x):
        y = F.relu(m.a(x))
        y = F.relu(m.b(y) + F.avg_pool2d(x, 2).repeat_interleave(2, 1))
        return m.fc(gap(y)) + m.skip(gap(x))

    return Body(forward, a=conv(3, 6), b=conv(6, 6, stride=2), fc=nn.Linear(6, 4), skip=nn.Linear(3, 4))


@entry
def raw_input_concatenated():
    def forward(m, x):
        y = F.relu(m.a(x))
        return m.fc(gap(F.relu(m.b(torch.cat([x, y], 1)))))

    return Body(forward, a=conv(3, 4), b=conv(7, 5), fc=nn.Linear(5, 4))


@entry
def normalises_its_input():
    def forward(m, x):
        return m.fc(gap(F.relu(m.b(F.relu(m.a((x - m.mean) / m.std))))))

    mean, std = torch.tensor([0.4, 0.5, 0.6]).reshape(3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).reshape(3, 1, 1)
    return Body(
        forward, a=conv(3, 5), b=conv(5, 5), fc=nn.Linear(5, 4), mean=nn.Buffer(mean), std=nn.Buffer(std)
    )  # fmt: skip


@entry
def changes_its_input():
    """The module must not see what an earlier call did to its input."""

    def forward(m, x):
        x.sub_(0.4).div_(0.3)
        return m.fc(gap(m.relu(m.a(m.relu(x)))))

    return Body(forward, a=conv(3, 5), relu=nn.ReLU(inplace=True), fc=nn.Linear(5, 4))


@entry
def counts_its_calls():
    def forward(m, x):
        m.calls += 1
        return m.fc(gap(F.relu(m.a(x))))

    return Body(forward, a=conv(3, 5), fc=nn.Linear(5, 4), calls=nn.Buffer(torch.zeros(())))


@entry
def several_heads():
    def forward(m, x):
        x = F.relu(m.a(x))
        early = m.early(gap(x))
        x = F.relu(m.b(x))
        return {"late": m.late(gap(x)), "early": (early, x, m.c(x))}

    return Body(
        forward, a=conv(3, 5), b=conv(5, 5), c=conv(5, 2), early=nn.Linear(5, 3), late=nn.Linear(5, 4)
    )  # fmt: skip


# ---- convolutions and padding


@entry
def groups_dilation_even_kernels():
    def forward(m, x):
        x = F.relu(m.a(x))
        x = F.relu(m.b(x))
        x = F.relu(m.c(x))
        return m.fc(gap(F.relu(m.d(x))))

    return Body(
        forward, a=conv(3, 6, 4, padding="same"), b=conv(6, 8, groups=2, dilation=2, padding=2),
        c=conv(8, 8, (2, 3), padding="same", dilation=(1, 2)), d=conv(8, 6, (1, 5), stride=(2, 1), padding=(0, 1)),
        fc=nn.Linear(6, 4),
    )  # fmt: skip


@entry
def padding_modes():
    def forward(m, x):
        for layer in m.layers:
            x = F.relu(layer(x))
        return m.fc(gap(x))

    modes = [conv(3 if i == 0 else 4, 4, padding_mode=m) for i, m in enumerate(("reflect", "circular", "replicate"))]
    return Body(forward, layers=nn.ModuleList(modes), fc=nn.Linear(4, 4))


@entry
def batch_norm_before_padded_conv():
    """The norm's shift is there inside the image, and not in the zero padding."""

    def forward(m, x):
        x = F.relu(m.a(m.n0(x)))
        x = F.relu(m.b(m.n1(x)))
        x = F.relu(m.n3(m.c(m.n2(F.pad(x, (1, 2, 0, 1))))))
        return m.fc(gap(m.n4(x)))

    return Body(
        forward, n0=nn.BatchNorm2d(3), a=conv(3, 5), n1=nn.BatchNorm2d(5), b=conv(5, 5, stride=2), n2=nn.BatchNorm2d(5),
        c=conv(5, 6), n3=nn.BatchNorm2d(6), n4=nn.BatchNorm2d(6), fc=nn.Linear(6, 4),
    )  # fmt: skip


@entry
def batch_norm_between_concatenation_and_pool():
    def forward(m, x):
        x = torch.cat([F.relu(m.a(x)), m.n1(F.relu(m.b(x))), x], 1)
        x = F.relu(m.c(F.avg_pool2d(m.n2(x), 3, 2, 1)))
        return m.fc(x.flatten(1))

    return Body(
        forward, a=conv(3, 3), b=conv(3, 2), n1=nn.BatchNorm2d(2), n2=nn.BatchNorm2d(8), c=conv(8, 4),
        fc=nn.Linear(144, 4),
    )  # fmt: skip


@entry
def weight_norms():
    normed = torch.nn.utils.parametrizations
    return nn.Sequential(
        normed.weight_norm(conv(3, 5)), nn.ReLU(), normed.spectral_norm(conv(5, 5)), nn.ReLU(), Lambda(gap),
        nn.Linear(5, 4),
    )  # fmt: skip


@entry
def scale_and_shift_by_position():
    def forward(m, x):
        x = F.relu(m.a(x)) * m.gain
        x = F.relu(m.b(x) * m.gain + m.place)
        return m.fc(gap(F.relu(x + m.place)))

    return Body(
        forward, a=conv(3, 4), b=conv(4, 4), gain=nn.Parameter(torch.randn(4, 12, 12)),
        place=nn.Parameter(torch.randn(1, 4, 12, 12)), fc=nn.Linear(4, 4),
    )  # fmt: skip


@entry
def constants_among_the_values():
    """Constants that are padded around, concatenated with, and moved together with what depends on the input."""

    def forward(m, x):
        x = F.relu(m.a(F.pad(x, (1, 1, 1, 1), value=0.5)))
        x = torch.cat([x, x.new_ones(x.size(0), 1, 12, 12) / 3, torch.full_like(x[:, :1], -0.25)], 1).flip(1)
        return m.fc(gap(F.relu(m.b(x.roll(1, 2)))))

    return Body(forward, a=nn.Conv2d(3, 4, 3), b=conv(6, 4), fc=nn.Linear(4, 4))


# ---- upsampling


@entry
def transposed_convolutions():
    """Encoder and decoder with a skip connection; then every argument of a transposed convolution."""

    def forward(m, x):
        a = F.relu(m.a(x))
        b = F.relu(m.b(F.avg_pool2d(a, 2)))
        x = F.relu(m.c(torch.cat([a, m.up(b)], 1)))
        x = F.relu(m.odd(F.avg_pool2d(x, 3)))
        return m.fc(gap(F.relu(m.cut(x))))

    return Body(
        forward, a=conv(3, 4), b=conv(4, 6), up=nn.ConvTranspose2d(6, 4, 2, 2), c=conv(8, 4),
        odd=nn.ConvTranspose2d(4, 6, 3, (2, 1), padding=(1, 0), output_padding=(1, 0), groups=2, dilation=(1, 2)),
        cut=nn.ConvTranspose2d(6, 3, 1, 2, padding=1, bias=False), fc=nn.Linear(3, 4),
    )  # fmt: skip


@entry
def interpolations():
    """Linear and cubic, up and down, in front of neurons, of other layers, and of the head."""

    def forward(m, x):
        a = F.relu(m.a(x))
        x = F.interpolate(F.avg_pool2d(a, 2), scale_factor=2, mode="bilinear")
        x = F.relu(m.b(torch.cat([a, x], 1)))
        x = F.relu(F.interpolate(m.c(x), size=(5, 9), mode="bilinear", align_corners=True))
        x = F.relu(m.d(F.interpolate(x, size=(8, 4), mode="bicubic")))
        return m.fc(F.interpolate(x, size=(2, 2), mode="bilinear", antialias=True).flatten(1))

    return Body(forward, a=conv(3, 4), b=conv(8, 4), c=conv(4, 5), d=conv(5, 4), fc=nn.Linear(16, 4))


@entry
def interpolated_spikes():
    """Read beside spikes, added to a convolution, by groups, by two layers, from one position, and as numbers."""

    def forward(m, x):
        a = F.relu(m.a(x))
        b = F.relu(m.b(a))
        up = F.interpolate(b, scale_factor=2, mode="bilinear")
        c = F.relu(m.c(torch.cat([a, up], 1)))
        d = F.relu(m.d(c) + up)
        e = F.relu(m.e(up))
        one = F.relu(m.f(gap(b)[..., None, None]))
        x = F.relu(m.g(torch.cat([d, F.interpolate(one, size=d.shape[2:], mode="bilinear"), e], 1)))
        again = F.interpolate(F.interpolate(x, scale_factor=2, mode="bilinear"), size=(6, 6), mode="bicubic")
        return m.fc(gap(F.relu(m.h(torch.cat([again, b], 1)))))

    return Body(
        forward, a=conv(3, 4), b=conv(4, 6, stride=2), c=conv(10, 6), d=conv(6, 6, 1), e=conv(6, 4, groups=2),
        f=conv(6, 3, 1), g=conv(13, 5), h=conv(11, 5), fc=nn.Linear(5, 4),
    )  # fmt: skip


@entry
def convolutions_of_convolutions():
    """Nothing between them, batch norm, one that pads, one read by two layers, and a bottleneck that is read twice."""

    def forward(m, x):
        a = F.relu(m.a(x))
        b = F.relu(m.c(m.n(m.b(a))))
        x = torch.cat([m.e(b), b, m.d(a)], 1)
        x = F.relu(m.f(x))
        narrow = m.g(x)
        x = F.relu(m.h(narrow)) + F.relu(m.i(narrow))
        return m.fc(gap(F.relu(m.k(m.j(x)))))

    return Body(
        forward, a=conv(3, 6), b=conv(6, 2, 1), n=nn.BatchNorm2d(2), c=conv(2, 6, stride=2), d=conv(6, 3, 3, stride=2),
        e=conv(6, 3, 1), f=conv(12, 5), g=conv(5, 2, 1, bias=False), h=conv(2, 4), i=conv(2, 4, 1),
        j=conv(4, 3, 3), k=conv(3, 5, 3, padding=0, stride=2, dilation=2), fc=nn.Linear(5, 4),
    )  # fmt: skip


@entry
def linear_bottlenecks():
    """Those of MobileNetV2, three in a row, and a sum of convolutions that another sum reads as well."""

    def forward(m, x):
        x = m.n(m.narrow(F.relu6(m.stem(x))))
        for wide, deep, narrow in zip(m.wide, m.deep, m.narrows, strict=True):
            x = x + narrow(F.relu6(deep(F.relu6(wide(x)))))
        y = m.left(F.relu(m.last(x)))
        left, right = F.relu(2 * y + m.right(x)), F.relu(y - m.right(x))
        return m.fc(gap(F.relu(m.both(left) - right)))

    def each(*args, **options):
        return nn.ModuleList(conv(*args, **options) for _ in range(3))

    return Body(
        forward, stem=conv(3, 5, stride=2), narrow=conv(5, 3, 1), n=nn.BatchNorm2d(3), wide=each(3, 7, 1),
        deep=each(7, 7, groups=7), narrows=each(7, 3, 1), last=conv(3, 4, 1), left=conv(4, 4), right=conv(3, 4, 1),
        both=conv(4, 4, 1), fc=nn.Linear(4, 4),
    )  # fmt: skip


# ---- average pooling and global means


@entry
def uneven_pools():
    def forward(m, x):
        x = F.relu(m.a(x))
        x = F.relu(m.b(F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)))
        x = F.relu(m.c(F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=True)))
        x = F.relu(m.d(F.adaptive_avg_pool2d(x, (3, 2))))
        return m.fc(F.adaptive_avg_pool2d(x, 2).reshape(x.size(0), -1))

    return Body(
        forward, a=conv(3, 4), b=conv(4, 4), c=conv(4, 4), d=conv(4, 4, 2), fc=nn.Linear(16, 4)
    )  # fmt: skip


@entry
def resnet_stem():
    """A pool whose windows overlap and are padded, read by a convolution and by the shortcut beside it."""

    def forward(m, x):
        x = F.avg_pool2d(F.relu(m.n(m.a(x))), 3, 2, 1)
        x = F.relu(m.c(F.relu(m.b(x))) + x)
        return m.fc(gap(F.relu(m.d(x))))

    return Body(
        forward, a=conv(3, 6), n=nn.BatchNorm2d(6), b=conv(6, 7), c=conv(7, 6), d=conv(6, 5, stride=2),
        fc=nn.Linear(5, 4),
    )  # fmt: skip


@entry
def global_mean_step_by_step():
    return nn.Sequential(conv(3, 5), nn.ReLU(), Lambda(lambda x: x.mean(-1).mean(-1)), nn.Linear(5, 4))


@entry
def mean_sum_and_divisor():
    def forward(m, x):
        x = F.relu(m.a(x))
        x = F.relu(m.b(F.avg_pool2d(x, (2, 3), divisor_override=5)))
        return m.fc(x.mean(3, keepdim=True).sum((2, 3)) / 6)

    return Body(forward, a=conv(3, 5), b=conv(5, 5), fc=nn.Linear(5, 4))


@entry
def means_over_channels_and_tokens():
    def forward(m, x):
        x = F.relu(m.a(x))
        x = F.relu(m.b(x - x.mean(1, keepdim=True)))
        return m.fc(x.flatten(2).transpose(1, 2).mean(1)) + x.sum(1).flatten(1)[:, :4]

    return Body(forward, a=conv(3, 4), b=conv(4, 5), fc=nn.Linear(5, 4))


@entry
def nothing_but_names():
    """Dropout, identities, casts and views."""

    def forward(m, x):
        x = m.identity(F.relu(m.a(x.to(m.a.weight.dtype)))).contiguous()
        x = F.dropout(x, 0.3, m.training).unsqueeze(1).squeeze(1).flip(3)
        return m.fc(F.dropout2d(F.relu(m.b(x)), 0.3, m.training).view(x.shape[0], -1))

    return Body(forward, a=conv(3, 4), b=conv(4, 4), identity=nn.Identity(), fc=nn.Linear(576, 4))


# ---- spellings of the activation

SPELLINGS = {
    "relu": nn.ReLU,
    "relu_in_place": lambda: nn.ReLU(inplace=True),
    "relu_subclass": Subclass,
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(0.0, 1.5),
    "hardtanh_in_place": lambda: nn.Hardtanh(0.0, 1.5, inplace=True),
    "threshold": lambda: nn.Threshold(0.0, 0.0),
    "torch_relu": lambda: Lambda(torch.relu),
    "functional_relu_in_place": lambda: Lambda(lambda x: F.relu(x, inplace=True)),
    "method_relu": lambda: Lambda(lambda x: x.relu()),
    "method_relu_in_place": lambda: Lambda(lambda x: x.relu_()),
    "clamp": lambda: Lambda(lambda x: x.clamp(0, 1.5)),
    "clamp_min": lambda: Lambda(lambda x: x.clamp(min=0)),
    "clamp_in_place": lambda: Lambda(lambda x: x.clamp_(0, 1.5)),
    "clip": lambda: Lambda(lambda x: torch.clip(x, 0, 1.5)),
    "maximum": lambda: Lambda(lambda x: torch.maximum(x, torch.zeros((), dtype=x.dtype))),
    "largest_of_two": lambda: Lambda(lambda x: torch.max(x, torch.zeros_like(x))),
    "learned_clip": Clip,
    "scaled_clip": Quantised,
}


def _spelt(name):
    return lambda: plain(SPELLINGS[name])


for _name in SPELLINGS:
    ZOO[f"spelt_{_name}"] = _spelt(_name)


@entry
def bound_for_each_channel():
    def forward(m, x):
        x = torch.minimum(F.relu(m.a(x)), m.bound)
        return m.fc(gap(torch.minimum(F.relu(m.b(x)), m.bound)))

    return Body(forward, a=conv(3, 5), b=conv(5, 5), bound=nn.Parameter(torch.rand(5, 1, 1) + 0.5), fc=nn.Linear(5, 4))


@torch.no_grad()
def randomise(model, seed=0):
    """Weights that keep activity alive from layer to layer, and batch norms that have something to do."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like, spread):
        return spread * torch.randn(like.shape, generator=generator, dtype=like.dtype)

    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.weight.copy_(1 + normal(module.weight, 0.3))
            module.bias.copy_(normal(module.bias, 0.3))
            module.running_mean.copy_(normal(module.running_mean, 0.3))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
        elif isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and not hasattr(module, "parametrizations"):
            fan_in = module.weight[0].numel()
            module.weight.copy_(normal(module.weight, (2 / fan_in) ** 0.5))
            if module.bias is not None:
                module.bias.copy_(normal(module.bias, 0.1))
    return model


def network(name):
    """A network of the zoo in float64 with random weights, eval mode."""
    # some entries draw parameters as they are made
    torch.manual_seed(0)
    return randomise(ZOO[name]()).double().eval()


def images(n, seed=1, shape=(3, 12, 12)):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
