"""Multi-layer perceptrons: a chain of 2-D weights under any names, with or without biases, ReLU between."""

from privaudit.adapters.chain import order_layers, pair_biases, refuse_others
from privaudit.adapters.inputs import flat_shape, precision_assumption, relu_assumption
from privaudit.adapters.interface import AbstractAdapter, AdapterDescription, AdapterRefusal, AttackTarget, InputOptions
from privaudit.adapters.normalisation import place_normalisations, split_normalisations
from privaudit.adapters.simplify import simplified
from privaudit.checkpoint import Checkpoint
from privaudit.networks import ReluMlp, conv_chain, frozen, linear_layer


class MlpAdapter(AbstractAdapter):
    """Builds `ReluMlp` where all weights are matrices whose shapes chain."""

    name = "mlp"
    description = AdapterDescription(
        option="",
        networks="chains of linear layers with ReLU, also with BatchNorm (folded)",
        told_by="names and shapes of a state dict",
        rebuilt="multiplier equation and feature span inside the span of the first layer; with BatchNorm the latter",
        readable="row space of the first layer, plain and whitened, kinks, multipliers",
    )

    def build(self, checkpoint: Checkpoint, options: InputOptions) -> AttackTarget:
        """The network, its input size, widths and outputs told from the shapes.

        Raises:
            AdapterRefusal: the tensors are no chain of matrices, the activation is not ReLU, or the stated input shape
                does not fit the first layer.
        """
        if not any(tensor.ndim == 2 for tensor in checkpoint.tensors.values()):
            raise AdapterRefusal("there is no 2-D weight")
        checkpoint, normalisations = split_normalisations(checkpoint)
        refuse_others(checkpoint, dimensions=(2,))
        order, order_assumption = order_layers(checkpoint, 2)
        layers = pair_biases(order, checkpoint)
        activation = relu_assumption(checkpoint, options)
        behind, norm_assumptions = place_normalisations(normalisations, layers, checkpoint)
        linear = [linear_layer(layer.weight, layer.bias) for layer in layers]
        input_shape, shape = flat_shape(checkpoint, options, layers[0].n_inputs, layers[0].name)
        module = conv_chain([], [], linear, behind) if any(behind) else ReluMlp(linear)
        simpler = simplified(frozen(module), input_shape)
        return AttackTarget(
            module=simpler.module,
            adapter=self.name,
            input_shape=input_shape,
            n_outputs=layers[-1].n_outputs,
            layers=tuple(layer.info("linear") for layer in layers),
            assumptions=(
                *((order_assumption,) if order_assumption else ()),
                *activation,
                *shape,
                *norm_assumptions,
                *simpler.sentences,
                *precision_assumption(checkpoint),
            ),
            trained=simpler.trained,
        )
