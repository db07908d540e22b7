"""Check what the report's prose claims about the numbers.

A claim is a function of the facts, and its docstring is what it says. It returns whether it holds
and the numbers that decide. Sentences that can go either way are no claims: their
wording is chosen in the .typ files. `full_protocol` marks no sentence, the whole text presumes it.
"""

import math
from itertools import pairwise
from types import FunctionType

from report.facts import AT_CHANCE, CHANCE, CLEAR, CNNS, LEFT, MLPS, RATES, compare
from report.measure import LAYERS


def full_protocol(facts: dict) -> tuple[bool, str]:
    """parts 3 and 4 train 15 epochs, part 3 ten times; part 5 trains 20 and 30 epochs"""
    runs = {name: (row["runs"], row["epochs"]) for name, row in facts["part3"].items()}
    variants = facts["part5"][facts["from5"]["architecture"]]
    epochs = {key: variant["epochs"] for key, variant in variants.items()}
    part4 = {row[a]["epochs"] for row in facts["part4"].values() for a in ("relu", "sigmoid")}
    full = all(n >= 10 and length == 15 for n, length in runs.values()) and part4 == {15}
    return full and set(epochs.values()) == {20, 30}, f"runs, epochs: {runs}; {part4}; {epochs}"


def part2_signs(facts: dict) -> tuple[bool, str]:
    """the strokes are dark in column 4 and bright in column 8 of part 2's picture, in every row"""
    means = [(row[3], row[7]) for row in facts["from2"]["means"]]
    return all(four < 0 < eight for four, eight in means), f"means of the maps: {means}"


def course_input(facts: dict) -> tuple[bool, str]:
    """part 2 shows the course's samples: five images of one digit"""
    files = facts["from2"]["files"]
    return files["samples"] is not None and facts["from2"]["images"] == 5, f"{files['samples']}"


def column_6_is_weak(facts: dict) -> tuple[bool, str]:
    """the maps of column 6 have under a tenth of the mean of those of column 8"""
    means = [(abs(row[5]), row[7]) for row in facts["from2"]["means"]]
    return all(six < 0.1 * eight for six, eight in means), f"means of the maps: {means}"


def cnns_beat_mlps(facts: dict) -> tuple[bool, str]:
    """every CNN's mean test accuracy is above every MLP's by more than both deviations"""
    rows = facts["part3"]
    low = min(rows[name]["test_acc_mean"] - rows[name]["test_acc_std"] for name in CNNS)
    high = max(rows[name]["test_acc_mean"] + rows[name]["test_acc_std"] for name in MLPS)
    return low > high, f"CNNs from {low:.2f}, MLPs to {high:.2f}"


def cnns_validate_above_mlps_training(facts: dict) -> tuple[bool, str]:
    """every CNN's final validation accuracy is above every MLP's final training accuracy"""
    rows = facts["part3"]
    low = min(rows[name]["val_acc_final"] for name in CNNS)
    high = max(rows[name]["train_acc_final"] for name in MLPS)
    return low > high, f"CNNs' validation from {low:.2f}, MLPs' training to {high:.2f}"


def every_gap_is_positive(facts: dict) -> tuple[bool, str]:
    """training accuracy ends above validation accuracy in every architecture"""
    gaps = {name: round(row["gap"], 2) for name, row in facts["part3"].items()}
    return min(gaps.values()) > 0, f"gaps {gaps}"


def cnn_4_is_best(facts: dict) -> tuple[bool, str]:
    """cnn_4 has the highest mean test accuracy, clearly above cnn_3 as the second and cnn_5"""
    order, rows = facts["from3"]["order"], facts["part3"]
    against = [compare(rows["cnn_4"], rows[other]) for other in ("cnn_3", "cnn_5")]
    holds = order[:2] == ["cnn_4", "cnn_3"] and all(c["clear"] for c in against)
    errors = [comparison["errors"] for comparison in against]
    return holds, f"order {order}, standard errors {errors}, limit {CLEAR}"


def ten_runs_distinguish_no_further(facts: dict) -> tuple[bool, str]:
    """ten runs show no clear difference between cnn_3 and cnn_5, nor between mlp_1 and mlp_2"""
    rows, pairs = facts["part3"], [("cnn_3", "cnn_5"), ("mlp_1", "mlp_2")]
    found = {pair: compare(rows[pair[0]], rows[pair[1]]) for pair in pairs}
    errors = {pair: comparison["errors"] for pair, comparison in found.items()}
    return not any(c["clear"] for c in found.values()), f"standard errors {errors}, limit {CLEAR}"


def mlps_have_the_largest_gaps(facts: dict) -> tuple[bool, str]:
    """the MLPs have the two largest gaps and the two lowest training accuracies"""
    rows = facts["part3"]
    by_training = sorted(rows, key=lambda name: rows[name]["train_acc_final"])
    holds = set(facts["from3"]["by_gap"][-2:]) == set(by_training[:2]) == set(MLPS)
    return holds, f"by gap {facts['from3']['by_gap']}, by training accuracy {by_training}"


def cnns_follow_their_parameters(facts: dict) -> tuple[bool, str]:
    """the CNNs are in the same order by accuracy as by parameters"""
    by_size, by_accuracy = facts["from3"]["cnns_by_parameters"], facts["from3"]["cnns_by_accuracy"]
    return by_size == by_accuracy, f"by parameters {by_size}, by accuracy {by_accuracy}"


def gap_groups_follow_the_parameters(facts: dict) -> tuple[bool, str]:
    """the gaps form three groups that are clearly apart and ordered by parameter count"""
    groups = facts["from3"]["gap_groups"]
    sizes = [[facts["part3"][name]["parameters"] for name in group] for group in groups]
    ordered = all(max(few) < min(many) for few, many in pairwise(sizes))
    return len(groups) == 3 and ordered, f"groups {groups}, parameters {sizes}"


def deeper_still_improve(facts: dict) -> tuple[bool, str]:
    """the CNNs still improve over the last epochs, the deeper the more"""
    rises = [float(facts["from3"]["late_rise"][name]) for name in CNNS]
    return 0 < rises[0] < rises[1] < rises[2], f"rises {rises}"


def cnn_5_fits_least(facts: dict) -> tuple[bool, str]:
    """of the CNNs cnn_5 has the smallest gap and the lowest training accuracy"""
    rows = {name: facts["part3"][name] for name in CNNS}
    first = [min(rows, key=lambda n, k=key: rows[n][k]) for key in ("gap", "train_acc_final")]
    return first == ["cnn_5", "cnn_5"], f"smallest gap, lowest training accuracy: {first}"


def cnn_5_is_not_trained_as_far(facts: dict) -> tuple[bool, str]:
    """at cnn_5's training accuracy cnn_4 had a gap within 0.3 percentage points of it"""
    gap = facts["part3"]["cnn_5"]["gap"]
    other = facts["from3"]["cnn_4_gap_at"]["cnn_5"]["mean"]
    return abs(gap - other) < 0.3, f"gap {gap:.2f}, cnn_4's {other:.2f}"


def cnn_3_overfits_sooner(facts: dict) -> tuple[bool, str]:
    """at cnn_3's last training accuracy cnn_4 had a gap that is over a percentage point smaller"""
    gap, other = facts["part3"]["cnn_3"]["gap"], facts["from3"]["cnn_4_gap_at"]["cnn_3"]["mean"]
    return gap - other > 1, f"gap {gap:.2f}, cnn_4's {other:.2f}"


def kernels_7_and_8_are_mostly_positive(facts: dict) -> tuple[bool, str]:
    """at least three quarters of the weights of kernels 7 and 8 are positive"""
    files = facts["from2"]["files"]
    positive = files["kernel_positive"][6:8]
    holds = len(positive) == 2 and min(positive) >= 0.75 * files["kernel_weights"]
    return holds, f"{positive} of {files['kernel_weights']}"


def kernels_have_structure(facts: dict) -> tuple[bool, str]:
    """adjacent weights of kernels correlate by 0.03 to 0.1, 4 deviations above shuffled ones"""
    ways = {
        (name, way): numbers
        for name, kernel in facts["measured"]["numbers"]["kernels"].items()
        for way, numbers in kernel.items()
    }
    apart = {key: (n["measured"] - n["null_mean"]) / n["null_deviation"] for key, n in ways.items()}
    holds = all(0.03 < n["measured"] < 0.1 for n in ways.values()) and min(apart.values()) > 4
    return holds, f"deviations above shuffled ones: {apart}"


def few_units_are_specialised(facts: dict) -> tuple[bool, str]:
    """under 10 % of MLPs' units, 10 to 25 % of CNNs' kernels reach 0.7 either way, none 0.8"""
    units = facts["measured"]["numbers"]["units"]
    shares = {name: units[name]["share_either_way"] for name in units}
    holds = all(shares[name] < 0.1 for name in MLPS)
    holds = holds and all(0.1 < shares[name] < 0.25 for name in CNNS)
    return holds and max(u["highest"] for u in units.values()) < 0.8, f"shares {shares}"


def kernels_prefer_the_same_classes(facts: dict) -> tuple[bool, str]:
    """the best class of every kernel is automobile, horse or truck; areas correlate by over 0.8"""
    units = facts["measured"]["numbers"]["units"]
    best = {n: [c for c, k in enumerate(units[n]["best_classes"]) if k] for n in CNNS}
    alike = {n: units[n]["alike"] for n in CNNS}
    holds = all(set(classes) <= {1, 7, 9} for classes in best.values())
    return holds and min(alike.values()) > 0.8, f"classes {best}, correlations {alike}"


def contrast_tells_the_same_classes(facts: dict) -> tuple[bool, str]:
    """of all classes automobile, truck and horse have the highest areas of local contrast alone"""
    areas = facts["measured"]["numbers"]["contrast"]
    best = sorted(range(len(areas)), key=lambda k: -areas[k])
    return set(best[:3]) == {1, 7, 9}, f"areas {areas}"


def mlp_units_spread_over_classes(facts: dict) -> tuple[bool, str]:
    """each class is the best one of some unit of both MLPs"""
    units = facts["measured"]["numbers"]["units"]
    counts = {name: units[name]["best_classes"] for name in MLPS}
    return all(min(count) > 0 for count in counts.values()), f"units for each class {counts}"


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
    """from cnn_3 to cnn_5 the last gradient falls up to 10 times with ReLU, else over 100 times"""
    fall = {}
    for activation in ("relu", "sigmoid"):
        few, *_, many = (facts["part4"][name][activation]["grad_last"] for name in CNNS)
        fall[activation] = few / many
    return fall["relu"] <= 10 and fall["sigmoid"] > 100, f"factors {fall}"


def the_signal_dies_in_deep_sigmoids(facts: dict) -> tuple[bool, str]:
    """in cnn_5 with the sigmoid outputs differ by under 1e-5 between images in the last layer"""
    signal = facts["measured"]["numbers"]["signal"]
    return signal["sigmoid"][-1] < 1e-5 < signal["relu"][-1] / 10, f"deviations {signal}"


def batches_disagree_more_and_more(facts: dict) -> tuple[bool, str]:
    """in mlp_1's run a batch's gradient grows by over 50 %, that of all images falls by 39 %"""
    training = facts["measured"]["numbers"]["training"]
    batch = {a: norms["batch"][-1] / norms["batch"][0] for a, norms in training.items()}
    whole = {
        a: max(norms["all_images"][1:]) / norms["all_images"][0] for a, norms in training.items()
    }
    holds = min(batch.values()) > 1.5 and max(whole.values()) < 0.61
    return holds, f"factors of a batch {batch}, of all images at most {whole}"


def ratios_follow_the_estimate(facts: dict) -> tuple[bool, str]:
    """before training sigmoid over ReLU follows the estimate within a factor of 1.2 on average"""
    off = facts["measured"]["off"]
    return max(off.values()) < 1.2 and set(off) == set(LAYERS), f"factors {off}"


def most_weights_do_not_move(facts: dict) -> tuple[bool, str]:
    """with sigmoid over half of cnn_5's first-layer weights are the same bits after training"""
    unmoved = facts["from4"]["unmoved"]
    return 2 * unmoved["same"] > unmoved["all"], f"{unmoved['same']} of {unmoved['all']}"


def deep_sigmoid_cnns_stay_at_chance(facts: dict) -> tuple[bool, str]:
    """with sigmoid cnn_4 and cnn_5 end within 0.01 of ln 10, and every run of cnn_3 leaves it"""
    losses = {name: facts["part4"][name]["sigmoid"]["loss_last"] for name in CNNS}
    stuck = all(abs(losses[name] - CHANCE) < AT_CHANCE for name in ("cnn_4", "cnn_5"))
    return stuck and None not in facts["from4"]["leaves"]["sigmoid"]["cnn_3"], f"losses {losses}"


def initial_weights_free_the_sigmoid(facts: dict) -> tuple[bool, str]:
    """with Glorot's weights and the sigmoid every run of cnn_4 and cnn_5 leaves ln 10, else none"""
    epochs = [facts["from4"][key]["sigmoid"] for key in ("leaves_initialized", "leaves")]
    after, before = ([e for n in ("cnn_4", "cnn_5") for e in row[n]] for row in epochs)
    return None not in after and not any(before), f"epochs {after}, by default {before}"


def initial_weights_end_the_wait(facts: dict) -> tuple[bool, str]:
    """with He's weights and ReLU every run of cnn_5 leaves ln 10 sooner than any by default"""
    after, before = (
        facts["from4"][key]["relu"]["cnn_5"] for key in ("leaves_initialized", "leaves")
    )
    holds = max(e or math.inf for e in after) < min(e or math.inf for e in before)
    return holds, f"epochs {after}, by default {before}"


def the_deepest_waits_longest(facts: dict) -> tuple[bool, str]:
    """with ReLU every run of cnn_5 leaves ln 10 later than every run of the other networks"""
    leaves = facts["from4"]["leaves"]["relu"]
    others = [epoch for name, epochs in leaves.items() for epoch in epochs if name != "cnn_5"]
    deepest = [epoch or math.inf for epoch in leaves["cnn_5"]]
    return None not in others and max(others) < min(deepest), f"epochs {leaves}"


def mlps_learn_with_both(facts: dict) -> tuple[bool, str]:
    """both MLPs leave ln 10 with either activation, and end lower with ReLU"""
    rows = {name: facts["part4"][name] for name in MLPS}
    losses = {n: (r["relu"]["loss_last"], r["sigmoid"]["loss_last"]) for n, r in rows.items()}
    return all(a < b < CHANCE - LEFT for a, b in losses.values()), f"ReLU, sigmoid: {losses}"


def unscaled_inputs_blow_up(facts: dict) -> tuple[bool, str]:
    """without scaling the first recorded loss of mlp_1, mlp_2 and cnn_3 with ReLU is far higher"""
    blown_up = facts["from4"]["blown_up"]
    return {"mlp_1", "mlp_2", "cnn_3"} <= set(blown_up), f"at least doubled: {blown_up}"


def shallow_relus_die(facts: dict) -> tuple[bool, str]:
    """without scaling the gradient of mlp_1, mlp_2 and cnn_3 with ReLU is zero from the start"""
    dead = facts["from4"]["dead"]
    return dead == ["mlp_1", "mlp_2", "cnn_3"], f"zero throughout: {dead}"


def cnn_3_dies_in_its_first_steps(facts: dict) -> tuple[bool, str]:
    """without scaling the second ReLU of cnn_3 is dead within ten steps, the last weights huge"""
    unscaled = facts["measured"]["numbers"]["unscaled"]
    return unscaled["step"] <= 10 and unscaled["weight"] > 1000, f"{unscaled}"


def sigmoids_saturate(facts: dict) -> tuple[bool, str]:
    """without scaling the MLPs' gradients with the sigmoid are zero at under half of the points"""
    zeros, points = facts["from4"]["zeros"], facts["from4"]["points"]
    holds = all(0 < zeros[name] < points / 2 for name in MLPS)
    return holds, f"{zeros} of {points} points"


def deep_networks_profit(facts: dict) -> tuple[bool, str]:
    """without scaling cnn_3 with the sigmoid, cnn_4 and cnn_5 with ReLU reach a lower loss"""
    better = {tuple(pair) for pair in facts["from4"]["better"]}
    expected = {("cnn_3", "sigmoid"), ("cnn_4", "relu"), ("cnn_5", "relu")}
    return better == expected, f"lower by 0.05 and more: {sorted(better)}"


def deep_sigmoids_stay_stuck(facts: dict) -> tuple[bool, str]:
    """cnn_4 and cnn_5 with the sigmoid stay at ln 10 with scaled and with unscaled inputs"""
    stuck = {tuple(pair) for pair in facts["from4"]["stuck"]}
    return stuck == {("cnn_4", "sigmoid"), ("cnn_5", "sigmoid")}, f"at ln 10: {sorted(stuck)}"


def drops_are_read_off(facts: dict) -> tuple[bool, str]:
    """the learning rate drops at the epochs that part 5's rule reads off the first runs"""
    drops, ruled = facts["from5"]["drops"], facts["from5"]["ruled_drops"]
    return drops == ruled, f"drops {drops}, by the rule {ruled}"


def five_runs_were_planned(facts: dict) -> tuple[bool, str]:
    """each variant of part 5 has five runs"""
    return facts["from5"]["runs"] == "five times", f"run {facts['from5']['runs']}"


def larger_rates_are_faster(facts: dict) -> tuple[bool, str]:
    """0.1 ends above 0.01 and 0.01 above 0.001, each three to ten times sooner"""
    numbers = facts["from5"]["numbers"]
    final, factors = [numbers["final"][role] for role in RATES], numbers["factors"]
    holds = final == sorted(final, reverse=True) and all(3 < factor < 10 for factor in factors)
    return holds, f"final {final}, factors {factors}"


def the_factor_is_near_ten_for_small_rates(facts: dict) -> tuple[bool, str]:
    """0.01 is 8 to 11 times as fast as 0.001, at the end under 10, and 0.1 under 9 times as 0.01"""
    numbers = facts["from5"]["numbers"]
    factors, end = numbers["low_factors_by_run"], numbers["factors_by_run"][1]
    holds = 8 <= factors["sgd_01"][0] <= factors["sgd_01"][1] < 11 and factors["sgd_1"][1] < 9
    return holds and end[1] < 10, f"factors {factors}, at the end {end}"


def noise_falls_at_the_drop(facts: dict) -> tuple[bool, str]:
    """in every run the first drop reduces the scatter of the next epoch to less than half"""
    constant, dropped = facts["from5"]["numbers"]["noise"]
    holds = all(low < high / 2 for high, low in zip(constant, dropped, strict=True))
    return holds, f"constant rate {constant}, after the drop {dropped}"


def a_tenth_is_noisiest(facts: dict) -> tuple[bool, str]:
    """at the end of the constant rates the scatter falls with the rate in every run"""
    noise = facts["from5"]["numbers"]["noise_end"]
    by_run = list(zip(*(noise[role] for role in RATES), strict=False))
    return all(a > b > c for a, b, c in by_run), f"deviations {noise}"


def the_first_drop_helps(facts: dict) -> tuple[bool, str]:
    """in every run the schedule is over 2 points above 0.1 in the epoch after the first drop"""
    ahead = facts["from5"]["numbers"]["against_constant"]["first_drop"]["each"]
    return min(ahead) > 2, f"differences {ahead}"


def the_first_drop_keeps_its_lead(facts: dict) -> tuple[bool, str]:
    """in every run the schedule is over 2 points above 0.1 in the last epoch of the latter"""
    ahead = facts["from5"]["numbers"]["against_constant"]["constants_end"]["each"]
    return min(ahead) > 2, f"differences {ahead}"


def the_second_drop_does_little(facts: dict) -> tuple[bool, str]:
    """the second drop changes runs by under 0.7 points; only in validation the gain exceeds 0"""
    numbers = facts["from5"]["numbers"]
    two, one = numbers["second_drop"]
    val, test = (numbers["second_drop_gain"][kind] for kind in ("validation", "test"))
    each = [two - one, *val["each"], *test["each"]]
    holds = val["mean"] > val["width"] and 0 < test["mean"] <= test["width"]
    return max(map(abs, each)) < 0.7 and holds, f"differences {each}, {val}, {test}"


def the_second_drop_stops_the_decline(facts: dict) -> tuple[bool, str]:
    """at the end the accuracy falls with one drop, and in every run less or not with two"""
    numbers = facts["from5"]["numbers"]
    falls, gain = numbers["late_rises"]["one_drop"]["mean"], numbers["late_gain"]
    return falls < 0 and min(gain["each"]) > 0, f"one drop {falls}, difference {gain}"


def the_second_drop_calms(facts: dict) -> tuple[bool, str]:
    """in every run the scatter is smaller with the second drop in the epoch after it"""
    two, one = facts["from5"]["numbers"]["second_drop_noise"]
    return all(a < b for a, b in zip(two, one, strict=False)), f"with {two}, without {one}"


def lower_loss_after_the_drop(facts: dict) -> tuple[bool, str]:
    """in the epoch after the drop and in the constant rate's last the training loss is lower"""
    losses = facts["from5"]["numbers"]["losses"]
    return all(dropped < constant for dropped, constant in losses), f"losses {losses}"


def lower_rates_fit_closer(facts: dict) -> tuple[bool, str]:
    """in the last epoch of the constant rate the schedule has a higher training accuracy and gap"""
    numbers = facts["from5"]["numbers"]
    pairs = [numbers["train_at_constants_end"], numbers["gaps_at_constants_end"]]
    return all(dropped > constant for dropped, constant in pairs), f"training, gaps {pairs}"


def the_second_drop_stops_the_fit(facts: dict) -> tuple[bool, str]:
    """with the second drop training accuracy and gap end lower than without it"""
    numbers = facts["from5"]["numbers"]
    pairs = [numbers["train_at_end"], numbers["gaps_at_end"][:2]]
    return all(two < one for two, one in pairs), f"training, gaps {pairs}"


def the_schedule_beats_the_adam_of_3_1(facts: dict) -> tuple[bool, str]:
    """the interval of the schedule's lead in test accuracy over the Adam of 3.1 excludes zero"""
    lead = facts["from5"]["numbers"]["against_adam_3"]
    width = math.inf if lead["width"] is None else lead["width"]
    return lead["mean"] > width, f"{lead}"


def the_schedule_ends_above_adam(facts: dict) -> tuple[bool, str]:
    """in every pair of runs the schedule ends above Adam in validation and test accuracy"""
    ahead = {k: pairs["each"] for k, pairs in facts["from5"]["numbers"]["against_adam"].items()}
    return min(ahead["validation"]) > 0 < min(ahead["test"]), f"differences {ahead}"


def adam_starts_faster(facts: dict) -> tuple[bool, str]:
    """Adam leads in epochs 1 and 2, then the schedule on average, but by no more than chance"""
    lead = facts["from5"]["numbers"]["lead"]
    between = lead["between"]
    unsure = between["width"] is None or abs(between["mean"]) <= between["width"]
    return min(lead["start"]) > 0 and min(lead["before"]) > 0 and unsure, f"{lead}"


def rounding_moves_runs(facts: dict) -> tuple[bool, str]:
    """Adam's runs of 3.1 are up to a point above those of 5.1, from which only rounding differs"""
    rounding = facts["from5"]["numbers"]["rounding"]
    each = rounding["each"]
    holds = min(each) > 0 and 0.5 <= max(each) <= 1.5 and rounding["mean"] > rounding["width"]
    return holds, f"{rounding}"


def without_mixed_pairs_it_is_open(facts: dict) -> tuple[bool, str]:
    """without pairs of two PyTorch versions the schedule leads Adam, but the intervals include 0"""
    pairs = facts["from5"]["numbers"]["against_adam_unmixed"].values()
    holds = all(0 < p["mean"] <= p["width"] for p in pairs if facts["from5"]["mixed_pairs"])
    return holds, f"{list(pairs)}"


def adam_still_rises(facts: dict) -> tuple[bool, str]:
    """after the epochs of the constant rates Adam rises by more than the schedule"""
    numbers = facts["from5"]["numbers"]
    adam, schedule = (numbers["late_rises"][role]["mean"] for role in ("adam", "two_drops"))
    return adam > max(0, schedule), f"Adam {adam}, schedule {schedule}"


# All functions above
CLAIMS = [
    claim for claim in list(vars().values())
    if isinstance(claim, FunctionType) and claim.__module__ == __name__
]  # fmt: skip


def failed(facts: dict) -> dict[str, dict[str, str]]:
    """Return the claims that do not hold, by name: what they say, and the numbers."""
    found = {}
    for claim in CLAIMS:
        try:
            holds, numbers = claim(facts)
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:  # of other results
            holds, numbers = False, f"cannot be computed ({type(error).__name__}: {error})"
        if not holds:
            found[claim.__name__] = {"says": claim.__doc__ or "", "numbers": numbers}
    return found
