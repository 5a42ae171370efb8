"""What somebody claimed of these networks, and whether this run bears it out.

A claim is stated in the suite; what it comes to is arithmetic on the results.

`numbers` are globs over `measure/metric`, such as `accuracy/top1` or
`robustness/gaussian_blur/loss` (the accuracy lost to the attack, as figure 6 of the paper shows
it, as a mean up to the L2 size where its panel ends; `area` is what is left); where several
fit, their mean is taken. `nets` are globs over `dataset/backbone/variant`: those that the claim
is about. Each is compared with the networks of its data set that are named by `against`, a variant
of its own backbone (`bu`) or any backbone's (`resnet18/bu`, as the suite labels it), and has to be
what `expect` says of all of them. `margin` is the difference that does not matter, in points for
percentages, else as a share (0.1 is 10 %). With "weakest input", `inputs` names one or several
scale inputs of a top-down network, and the claim is that perturbing one of these costs more
accuracy than perturbing any other. Differences are taken seed by seed, between backbones too.
"""
