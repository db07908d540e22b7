"""What the prose of the report says about the numbers. A false claim stops the build.

A claim is a function of the facts, and its docstring is what it says. It returns whether it holds
and the numbers that decide. Sentences that can go either way are no claims: their
wording is chosen in the .typ files.
"""

from experiments.storage import UserError

from report.facts import (
    ACTIVATIONS,
    AT_CHANCE,
    CHANCE,
    CLEAR,
    CNNS,
    LEFT,
    MLPS,
    compare,
    estimated_ratio,
)


def full_protocol(facts: dict) -> tuple[bool, str]:
    """parts 3 and 4 train 15 epochs, part 3 ten times; part 5 trains 20 and 30 epochs"""
    runs = {name: (row["runs"], row["epochs"]) for name, row in facts["part3"].items()}
    trainings = facts["part5"][facts["from5"]["architecture"]]["trainings"]
    epochs = {key: training["epochs"] for key, training in trainings.items()}
    part4 = {row[a]["epochs"] for row in facts["part4"].values() for a in ("relu", "sigmoid")}
    full = all(n >= 10 and length == 15 for n, length in runs.values()) and part4 == {15}
    return full and set(epochs.values()) == {20, 30}, f"runs, epochs: {runs}; {part4}; {epochs}"


def part2_signs(facts: dict) -> tuple[bool, str]:
    """the strokes are dark in column 4 and bright in column 8 of part 2's picture, in every row"""
    means = [(row[3], row[7]) for row in facts["from2"]["means"]]
    return all(four < 0 < eight for four, eight in means), f"means of the maps: {means}"


def cnns_beat_mlps(facts: dict) -> tuple[bool, str]:
    """every CNN's mean test accuracy is above every MLP's by more than both deviations"""
    rows = facts["part3"]
    low = min(rows[name]["test_acc_mean"] - rows[name]["test_acc_std"] for name in CNNS)
    high = max(rows[name]["test_acc_mean"] + rows[name]["test_acc_std"] for name in MLPS)
    return low > high, f"CNNs from {low:.2f}, MLPs to {high:.2f}"


def cnns_validate_above_mlps_training(facts: dict) -> tuple[bool, str]:
    """every CNN classifies new images better than any MLP those that it was trained on"""
    rows = facts["part3"]
    low = min(rows[name]["val_acc_final"] for name in CNNS)
    high = max(rows[name]["train_acc_final"] for name in MLPS)
    return low > high, f"CNNs' validation from {low:.2f}, MLPs' training to {high:.2f}"


def every_gap_is_positive(facts: dict) -> tuple[bool, str]:
    """training accuracy ends above validation accuracy in every architecture"""
    gaps = {name: round(row["gap"], 2) for name, row in facts["part3"].items()}
    return min(gaps.values()) > 0, f"gaps {gaps}"


def mlp_2_is_no_better(facts: dict) -> tuple[bool, str]:
    """ten runs show no clear difference between mlp_1 and mlp_2"""
    comparison = compare(facts["part3"]["mlp_2"], facts["part3"]["mlp_1"])
    return not comparison["clear"], f"{comparison['errors']} standard errors, limit {CLEAR}"


def families_differ_more_than_their_members(facts: dict) -> tuple[bool, str]:
    """the step from the better MLP to the worst CNN is larger than the range of the CNNs"""
    step, width = facts["from3"]["family_gap"], facts["from3"]["cnn_range"]
    return float(step) > float(width), f"step {step}, range {width} points"


def part5_uses_the_pick(facts: dict) -> tuple[bool, str]:
    """part 5 trains the architecture with the best validation accuracy of part 3"""
    used, pick = facts["from5"]["architecture"], facts["from3"]["by_validation"][0]
    return used == pick, f"part 5 has {used}, best is {pick}"


def mlp_weights_are_smooth(facts: dict) -> tuple[bool, str]:
    """adjacent first-layer weights of both MLPs are clearly correlated"""
    values = {name: round(facts["from3"]["neighbours"][name], 2) for name in MLPS}
    return min(values.values()) > 0.2, f"correlations {values}"


def sigmoid_gradient_is_smaller(facts: dict) -> tuple[bool, str]:
    """the first recorded gradient is smaller with sigmoid than with ReLU in every architecture"""
    pairs = {
        name: (row["sigmoid"]["grad_first"], row["relu"]["grad_first"])
        for name, row in facts["part4"].items()
    }
    return all(sigmoid < relu for sigmoid, relu in pairs.values()), f"sigmoid, ReLU: {pairs}"


def gradient_falls_with_depth(facts: dict) -> tuple[bool, str]:
    """the first recorded gradient falls from the MLPs to cnn_3, cnn_4 and cnn_5"""
    rows, holds, numbers = facts["part4"], True, {}
    for activation in ("relu", "sigmoid"):
        values = [min(rows[name][activation]["grad_first"] for name in MLPS)]
        values += [rows[name][activation]["grad_first"] for name in CNNS]
        holds = holds and values == sorted(values, reverse=True)
        numbers[activation] = [f"{value:.1e}" for value in values]
    return holds, str(numbers)


def gradients_with_relu_catch_up(facts: dict) -> tuple[bool, str]:
    """from cnn_3 to cnn_5 the last gradient falls by at most 10 with ReLU, over 100 with sigmoid"""
    fall = {}
    for activation in ("relu", "sigmoid"):
        few, *_, many = (facts["part4"][name][activation]["grad_last"] for name in CNNS)
        fall[activation] = few / many
    return fall["relu"] <= 10 and fall["sigmoid"] > 100, f"factors {fall}"


def ratios_follow_the_estimate(facts: dict) -> tuple[bool, str]:
    """sigmoid over ReLU follows the estimate within a factor of 10, over a range of 30 and more"""
    ratios = {
        name: facts["part4"][name]["sigmoid"]["grad_first"]
        / facts["part4"][name]["relu"]["grad_first"]
        for name in ACTIVATIONS
    }
    holds = all(0.1 < ratio / estimated_ratio(name) < 10 for name, ratio in ratios.items())
    return holds and max(ratios.values()) > 30 * min(ratios.values()), f"ratios {ratios}"


def deep_sigmoid_cnns_stay_at_chance(facts: dict) -> tuple[bool, str]:
    """with sigmoid cnn_4 and cnn_5 end within 0.01 of ln 10, and cnn_3 at least 0.1 below it"""
    losses = {name: facts["part4"][name]["sigmoid"]["loss_last"] for name in CNNS}
    stuck = all(abs(losses[name] - CHANCE) < AT_CHANCE for name in ("cnn_4", "cnn_5"))
    return stuck and facts["from4"]["leaves"]["sigmoid"]["cnn_3"] is not None, f"losses {losses}"


def the_deepest_waits_longest(facts: dict) -> tuple[bool, str]:
    """if all networks leave ln 10 with ReLU, cnn_5 is the last one to do so"""
    leaves = facts["from4"]["leaves"]["relu"]
    others = [epoch for name, epoch in leaves.items() if name != "cnn_5"]
    return None in leaves.values() or max(others) < leaves["cnn_5"], f"epochs {leaves}"


def mlps_learn_with_both(facts: dict) -> tuple[bool, str]:
    """both MLPs leave ln 10 with either activation, and end lower with ReLU"""
    rows = {name: facts["part4"][name] for name in MLPS}
    losses = {n: (r["relu"]["loss_last"], r["sigmoid"]["loss_last"]) for n, r in rows.items()}
    return all(a < b < CHANCE - LEFT for a, b in losses.values()), f"ReLU, sigmoid: {losses}"


def unscaled_inputs_blow_up(facts: dict) -> tuple[bool, str]:
    """without scaling the first recorded loss of mlp_1, mlp_2 and cnn_3 with ReLU is far higher"""
    blown_up = facts["from4"]["blown_up"]
    return {"mlp_1", "mlp_2", "cnn_3"} <= set(blown_up), f"at least doubled: {blown_up}"


def drops_are_read_off(facts: dict) -> tuple[bool, str]:
    """the learning rate drops at the epochs that the rule of part5_learning_rate.py reads off"""
    drops, ruled = facts["from5"]["drops"], facts["from5"]["ruled_drops"]
    return drops == ruled, f"drops {drops}, by the rule {ruled}"


def a_tenth_is_fastest(facts: dict) -> tuple[bool, str]:
    """SGD 0.1 gets before its last epoch where 0.01 ends, and 0.001 ends lowest"""
    part5 = facts["from5"]
    trainings = facts["part5"][part5["architecture"]]["trainings"]
    final = {key: trainings[key]["val_acc_final"] for key in ("lr_0.1", "lr_0.01", "lr_0.001")}
    epochs, last = part5["epochs_to_01"], trainings["lr_0.1"]["epochs"]
    fastest = epochs is not None and epochs < last
    return fastest and final["lr_0.001"] == min(final.values()), f"epoch {epochs}; {final}"


def a_tenth_is_noisiest(facts: dict) -> tuple[bool, str]:
    """the validation accuracy fluctuates most with SGD 0.1, and less after the first drop"""
    noise, (before, after) = facts["from5"]["noise"], facts["from5"]["noise_around_drop"]
    holds = noise["sgd_1"] == max(noise.values()) and after < before
    return holds, f"deviations {noise}; {before:.2f} before the drop, {after:.2f} after"


def the_first_drop_helps_at_once(facts: dict) -> tuple[bool, str]:
    """the validation accuracy is higher in the epoch after the first drop than in that before"""
    around = facts["from5"]["around_drops"][0]  # one value if the drop is at the end
    before, after = around[0], around[-1]
    return after > before, f"{before:.2f} before, {after:.2f} after"


CLAIMS = [
    full_protocol, part2_signs, cnns_beat_mlps, cnns_validate_above_mlps_training,
    every_gap_is_positive, mlp_2_is_no_better, families_differ_more_than_their_members,
    part5_uses_the_pick, mlp_weights_are_smooth, sigmoid_gradient_is_smaller,
    gradient_falls_with_depth, gradients_with_relu_catch_up, ratios_follow_the_estimate,
    deep_sigmoid_cnns_stay_at_chance, the_deepest_waits_longest, mlps_learn_with_both,
    unscaled_inputs_blow_up, drops_are_read_off, a_tenth_is_fastest, a_tenth_is_noisiest,
    the_first_drop_helps_at_once,
]  # fmt: skip


def check(facts: dict) -> None:
    """Raise UserError for the first claim that the numbers do not bear out."""
    for claim in CLAIMS:
        holds, numbers = claim(facts)
        if not holds:
            raise UserError(
                f"the report claims that {claim.__doc__}, but the results say otherwise "
                f"({claim.__name__}: {numbers}); rewrite what it says, then the claim"
            )
