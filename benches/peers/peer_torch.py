"""A training step in PyTorch, as one who knows it well writes it for the CPU."""

import torch
from torch import nn
from torch.nn.functional import softplus


def versions():
    return {"torch": torch.__version__}


def networks(shape):
    """Generator and discriminator, with the initial weights of the DCGAN paper; dense layers with Glorot's."""
    latent, width, norm = shape["latent"], shape["width"], shape["d_norm"] == "batch"
    channels, side = shape["image"]
    # As in trainer/src/net/dcgan.rs: halved until the side is odd or 4.
    stages, smallest = 0, side
    while smallest % 2 == 0 and smallest > 4:
        stages, smallest = stages + 1, smallest // 2
    widths = [width << stage for stage in range(stages)]
    if shape["generator"] == "dcgan":
        layers = [nn.Linear(latent, widths[-1] * smallest**2, bias=False)]
        layers.append(nn.Unflatten(1, (widths[-1], smallest, smallest)))
        for stage in reversed(range(stages)):
            outputs = widths[stage - 1] if stage else channels
            layers += [nn.BatchNorm2d(widths[stage]), nn.ReLU(inplace=True)]
            layers.append(nn.ConvTranspose2d(widths[stage], outputs, 4, 2, 1, bias=stage == 0))
        generator = nn.Sequential(*layers, nn.Tanh())
    else:
        image = (channels, side, side)
        generator = nn.Sequential(
            nn.Linear(latent, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, channels * side**2),
            nn.Tanh(),
            nn.Unflatten(1, image),
        )
    layers = []
    for stage, (inputs, outputs) in enumerate(zip([channels, *widths], widths)):
        normalised = norm and stage > 0
        layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not normalised))
        layers += [nn.BatchNorm2d(outputs)] if normalised else []
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    discriminator = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * smallest**2, 1))
    for network in (generator, discriminator):
        for parameter in network.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, 0, 0.02)
    if shape["generator"] == "dense":
        for parameter in generator.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)
    return generator, discriminator


def step(shape, schedule, kind, batches, threads):
    """A function that takes one step and gives the losses. Kinds: eager, channels-last, compile."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    generator, discriminator = networks(shape)
    if kind != "eager":
        for network in (generator, discriminator):
            network.to(memory_format=torch.channels_last)
    if kind == "compile":
        generator.compile()
        discriminator.compile()
    lr, beta1, beta2, eps = shape["adam"]
    generator_adam, discriminator_adam = (
        torch.optim.Adam(network.parameters(), lr, (beta1, beta2), eps, fused=True)
        for network in (generator, discriminator)
    )
    weights = list(generator.parameters())
    average = [weight.detach().clone() for weight in weights]

    # Of one channel both orders are the same bytes.
    order = torch.contiguous_format if kind == "eager" else torch.channels_last

    def draw():
        # [N, H, W, C] as it is drawn.
        real = torch.from_numpy(batches.next()).permute(0, 3, 1, 2).float(memory_format=order).div_(127.5).sub_(1)
        return real, generator(torch.randn(len(real), shape["latent"]))

    def judge(real, fake):
        """The logits of both. Batch normalisation must not mix them; without it one pass takes both."""
        if shape["d_norm"] == "batch":
            return discriminator(real), discriminator(fake)
        return discriminator(torch.cat([real, fake])).chunk(2)

    def losses(real_logits, fake_logits):
        """What discriminator and, of its own logits, generator minimise."""
        if "gp" in shape:
            return fake_logits.mean() - real_logits.mean(), lambda logits: -logits.mean()
        return softplus(-real_logits).mean() + softplus(fake_logits).mean(), lambda logits: softplus(-logits).mean()

    def penalties(real, real_logits, fake, fake_logits):
        """What the discriminator minimises as well."""
        found = 0.0
        for gamma, images, logits in ((shape.get("r1"), real, real_logits), (shape.get("r2"), fake, fake_logits)):
            if gamma:
                (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
                found = found + gamma / 2 * slope.square().sum() / len(images)
        if weight := shape.get("gp"):
            part = torch.rand(len(real), 1, 1, 1)
            between = torch.lerp(real, fake, part).requires_grad_()
            (slope,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
            found = found + weight * (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return found

    def finish(loss_d, loss_g):
        with torch.no_grad():
            torch._foreach_lerp_(average, weights, 1 - shape["ema_past"])
        return loss_d.item(), loss_g.item()

    def two_stage():
        real, fake = draw()
        discriminator_adam.zero_grad(set_to_none=True)
        judged = fake.detach()
        real.requires_grad_("r1" in shape)
        judged.requires_grad_("r2" in shape)
        real_logits, fake_logits = judge(real, judged)
        loss_d, generator_loss = losses(real_logits, fake_logits)
        loss_d = loss_d + penalties(real, real_logits, judged, fake_logits)
        loss_d.backward()
        discriminator_adam.step()
        # No gradients for weights that this loss does not move.
        discriminator.requires_grad_(False)
        generator_adam.zero_grad(set_to_none=True)
        loss_g = generator_loss(discriminator(fake))
        loss_g.backward()
        generator_adam.step()
        discriminator.requires_grad_(True)
        return finish(loss_d, loss_g)

    def one_stage():
        real, fake = draw()
        judged = fake.detach().requires_grad_()
        for adam in (generator_adam, discriminator_adam):
            adam.zero_grad(set_to_none=True)
        real_logits, fake_logits = judge(real, judged)
        loss_d = softplus(-real_logits).mean() + softplus(fake_logits).mean()
        loss_d.backward()
        # The losses' derivatives by a sample's logit l are sigmoid(l) and -sigmoid(-l), over N: their ratio turns the
        # gradients of one loss by the generated images into those of the other (Shen et al., "Training generative
        # adversarial networks in one stage", 2021).
        fake_logits = fake_logits.detach()
        loss_g = softplus(-fake_logits).mean()
        fake.backward(judged.grad * -torch.exp(-fake_logits).view(-1, 1, 1, 1))
        discriminator_adam.step()
        generator_adam.step()
        return finish(loss_d, loss_g)

    return {"two-stage": two_stage, "one-stage": one_stage}[schedule]
