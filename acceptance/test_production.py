"""The contract: what must be true of a run before anybody may say that it happened.

Each test is one promise; its docstring is the clause in plain words. The names on the right of a
comparison come from the `[contract]` table of the profile or stand here as numbers, nowhere else.
The promises are judged in this order, over records read back from the run folder. At the first
gate with a broken promise the run stops, and what lies behind it is reported as NOT RUN.
"""

# --- the attempt -----------------------------------------------------------------------------


def test_auth_belongs_to_the_only_attempt_under_this_name(opening):
    """There is one attempt under this name, this one; nothing is retried."""
    assert opening.attempts_of_this_run == 1


# --- auth: this token can read these bytes -----------------------------------------------------


def test_auth_finds_the_token_in_hf_token(auth):
    """The token comes from HF_TOKEN, where the engineer set it."""
    assert auth.token_source == "HF_TOKEN"


def test_auth_is_granted_access_to_the_model(auth):
    """The hub accepts the token, grants it the model and knows the revision."""
    assert auth.access_statuses == (200, 200, 200)


def test_auth_is_offered_the_weights(auth):
    """With the fourth and last request the hub offers the weights, or sends to them (302)."""
    assert auth.weights_statuses in ((200,), (302,))


def test_auth_resolves_the_pinned_revision_of_the_model(auth, contract):
    """The model is the one that was named, at the commit that was named."""
    assert auth.repo == contract.repo
    assert auth.revision == contract.revision


def test_auth_finds_every_file_of_the_model(auth):
    """Every pinned file is there, with a size and a digest to hold the download against."""
    assert auth.missing_files == ()
    assert len(auth.files) > 0


def test_auth_finds_weights_of_the_promised_sizes(auth, contract):
    """Every file of weights has, to the byte, the size that it has in the promised model."""
    assert auth.weight_sizes == contract.file_bytes


def test_auth_finds_the_promised_digests(auth, contract):
    """Every file of which the contract knows the SHA-256 is pinned by it at the hub as well."""
    assert set(contract.known_sha256) <= set(auth.known_sha256)


def test_auth_moves_no_weights(auth):
    """Proving access moves no weights."""
    assert auth.weight_bytes == 0


# --- venv: the environment as it is, on the device that was promised ----------------------------


def test_venv_is_the_environment_that_was_named(venv):
    """The environment that trains is the one that was named, not another that happened to work."""
    assert venv.probe.prefix == venv.path


def test_venv_runs_on_linux(venv):
    """JAX reaches the card on Linux (WSL2 included); native Windows would fall back to the CPU."""
    assert venv.probe.system == "Linux"


def test_venv_holds_every_package_that_training_needs(venv):
    """Every requirement is met by what was there; newer than tested is named, not refused."""
    assert venv.unsatisfied == ()
    assert len(venv.requirements) > 0
    assert "" not in venv.tested_versions


def test_venv_computes_on_the_promised_device(venv, contract):
    """A computation really runs on the device of the contract; there is no fallback."""
    assert venv.device == f"{contract.platform}:{contract.device_kind}"


def test_venv_finds_the_card_by_its_driver_as_well(plan, contract):
    """Where a card is promised its driver knows it by that name, whatever the packages call it."""
    assert plan.card_by_driver == contract.card


def test_venv_device_computes_right_numbers(venv):
    """A bfloat16 product, a softmax and operations compiled one by one agree with float64."""
    assert 0 <= venv.probe.numerics.product_relative_error < 0.01
    assert 0 <= venv.probe.numerics.softmax_relative_error < 0.0001
    assert 0 <= venv.probe.numerics.operation_relative_error < 0.0001


def test_venv_device_takes_right_steps(venv):
    """Steps of a small Gemma of each family agree with float64 as far as bfloat16 can."""
    assert venv.probe.numerics.families == ("gemma", "gemma2", "gemma3_text")
    assert 0 <= venv.probe.numerics.loss_relative_error < 0.002
    assert 0 <= venv.probe.numerics.gradient_relative_error < 0.06
    assert 0 <= venv.probe.numerics.update_relative_error < 0.02


def test_venv_devices_exchange_right_bits(venv, contract):
    """As many devices as promised compute, and where they are several exchange right bits."""
    assert venv.right_devices == contract.devices


def test_venv_loads_packages_as_their_wheels_brought_them(venv):
    """Every file that the packages load has the digest that its wheel recorded; none is added."""
    assert venv.altered == ()
    assert venv.unrecorded == ()


def test_venv_plans_for_the_promised_model(plan, contract):
    """By its config.json, read before the weights, the model has the promised kind and shapes."""
    assert plan.architecture == contract.architecture
    assert plan.parameters == contract.parameters
    assert plan.config_values == contract.config


def test_venv_has_the_memory_that_training_takes(plan):
    """Compiled before a weight is read, the step fits what is free, with 15 % to spare."""
    assert 0 < 1.15 * plan.peak_bytes <= plan.memory_bytes


def test_venv_has_the_disk_that_the_run_takes(plan):
    """The download and the trained model find room where they go."""
    assert plan.cache.needed_bytes <= plan.cache.free_bytes
    assert plan.run.needed_bytes <= plan.run.free_bytes


# --- train-300: the training that was promised, whole -------------------------------------------


def test_train_ends_by_itself_and_well(train):
    """The training process ends by itself, without an error, a signal or a deadline."""
    assert train.process.ended_by_parent == "no"
    assert train.process.exit_status == 0


def test_train_uses_jax_on_the_device_of_the_environment(train, venv):
    """Training runs in JAX, on the device that the environment was made for."""
    assert train.backend == "jax"
    assert train.device == venv.device


def test_train_runs_on_as_many_devices_as_promised(train, contract):
    """Training runs on as many devices as were promised, no more and no fewer."""
    assert train.devices == contract.devices


def test_train_is_done_by_as_many_processes_as_promised(train, contract):
    """As many processes as promised worked to the end together, no more and no fewer."""
    assert len(train.processes) == contract.processes


def test_train_processes_are_alike(train):
    """All had the same code, packages, profile, rows and weights, on devices of one kind."""
    assert len(train.kinds_of_process) == 1


def test_train_processes_compute_the_same(train):
    """All computed equal losses and gradient norms at every step, and read back one model."""
    assert len(train.computed_by_processes) == 1


def test_train_runs_the_code_that_was_digested(train):
    """Training runs m43 and packages as they were digested before, and no start-up code beside."""
    assert train.imported.changed == ()
    assert train.imported.startup == ()
    assert len(train.imported.files) > 0


def test_train_loads_packages_as_their_wheels_brought_them(train):
    """Every file that training loads has the digest that its wheel recorded; none is added."""
    assert train.imported.altered == ()
    assert train.imported.unrecorded == ()


def test_train_starts_from_the_pinned_files(train, auth):
    """The files that training reads are, byte for byte, those that the hub pinned."""
    assert train.download.revision == auth.revision
    assert train.download.files == auth.files


def test_train_trains_the_promised_model(train, contract):
    """The model that was trained is, by its tensors, of the promised kind and size."""
    assert train.architecture == contract.architecture
    assert train.parameters == contract.parameters


def test_train_takes_exactly_the_promised_steps(train, contract):
    """Training takes exactly the promised number of optimizer steps, 300 unless amended."""
    assert train.optimizer_steps == contract.optimizer_steps
    assert 200 <= train.optimizer_steps <= 500


def test_train_steps_are_counted_alike_by_three(train):
    """The optimizer, the metrics file and the watching parent count the same steps."""
    assert len(train.losses_nats) == train.optimizer_steps
    assert train.process.steps_seen == train.optimizer_steps


def test_train_learns_from_answers_at_every_step(train):
    """Every step has answer tokens to learn from; a prompt without an answer teaches nothing."""
    assert min(train.supervised_tokens) > 0


def test_train_uses_the_rows_that_were_given(train, opening):
    """The rows are those that lay there before the first gate."""
    assert train.train_rows_sha256 == opening.train_rows_sha256


def test_train_is_one_epoch_at_most(train, contract):
    """No row is used more often than the contract allows: no loop, no sweep."""
    assert 0 < train.epochs <= contract.epochs_at_most


def test_train_stays_within_its_time(train, contract):
    """Training keeps to the minutes that the contract gives it."""
    assert train.process.duration_s <= 60 * contract.train_minutes_at_most


def test_train_moves_the_weights(train):
    """The saved weights differ from the ones that training began with."""
    assert train.parameters_moved > 0
    assert train.model_sha256 != train.base_weights_sha256


def test_train_saves_a_model_that_reads_back(train):
    """The saved folder, read again, holds the same weights bit for bit."""
    assert train.reloaded_sha256 == train.model_sha256


def test_train_process_knows_no_token(train):
    """The process that trains is offline and is given no token."""
    assert "HF_TOKEN" not in train.process.variables
    assert "HF_HUB_OFFLINE" in train.process.variables


# --- eval: every row, both models, scored -------------------------------------------------------


def test_eval_ends_by_itself_and_well(evaluation):
    """The evaluation process ends by itself, without an error, a signal or a deadline."""
    assert evaluation.process.ended_by_parent == "no"
    assert evaluation.process.exit_status == 0


def test_eval_runs_the_code_that_was_digested(evaluation):
    """Evaluation runs m43 and packages as they were digested, and no start-up code beside."""
    assert evaluation.imported.changed == ()
    assert evaluation.imported.startup == ()
    assert len(evaluation.imported.files) > 0


def test_eval_loads_packages_as_their_wheels_brought_them(evaluation):
    """Every file that evaluation loads has the digest that its wheel recorded; none is added."""
    assert evaluation.imported.altered == ()
    assert evaluation.imported.unrecorded == ()


def test_eval_judges_the_model_that_was_trained(evaluation, train):
    """The tuned model is the one that was saved, the base model the one it began as."""
    assert evaluation.model_sha256 == train.model_sha256
    assert evaluation.base_weights_sha256 == train.base_weights_sha256


def test_eval_runs_where_training_ran(evaluation, train):
    """Evaluation runs on the same devices as training."""
    assert evaluation.device == train.device
    assert evaluation.devices == train.devices


def test_eval_reads_the_evaluation_file_that_was_given(evaluation, opening):
    """The evaluation file is the one that lay there before the first gate."""
    assert evaluation.eval_rows_sha256 == opening.eval_rows_sha256


def test_eval_answers_every_row_once(evaluation, contract):
    """Every row of the file is answered, each once: 100 of 100."""
    assert evaluation.rows_in_file == contract.eval_rows
    assert len(evaluation.ids) == contract.eval_rows
    assert len(set(evaluation.ids)) == contract.eval_rows


def test_eval_scores_every_row(evaluation, contract):
    """Both models are scored on every row, and the scores follow from the predictions."""
    assert evaluation.results.overall.rows == contract.eval_rows
    assert evaluation.results == evaluation.recomputed_results


# --- closing: nothing else was touched ----------------------------------------------------------


def test_closing_finds_the_environment_unchanged(closing, venv):
    """No package was installed, upgraded or removed during the run."""
    assert closing.packages_sha256 == venv.packages_sha256


def test_closing_finds_the_working_tree_unchanged(closing, opening):
    """Every other file of the working tree is as it was, M42's submission included."""
    assert closing.changed_paths == ()
    assert closing.tree_sha256 == opening.tree_sha256


def test_closing_finds_the_trained_model_unchanged(closing, train):
    """The model in the run folder is still the one that training saved."""
    assert closing.model_sha256 == train.model_sha256


def test_closing_finds_exactly_one_document(closing):
    """Until the verdict, the run folder holds the failure analysis that only success replaces."""
    assert closing.documents == ("failure_analysis.md",)


def test_closing_finds_the_code_of_m43_in_its_place(closing):
    """What measured and judged is the code of m43's own files; nobody put other code there."""
    assert closing.foreign_code == ()


def test_closing_judges_with_packages_as_their_wheels_brought_them(closing):
    """What pytest and m43 load to judge has the digests that its wheels recorded; none is added."""
    assert closing.altered == ()
    assert closing.unrecorded == ()
    assert closing.judging_files > 0
