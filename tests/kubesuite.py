# SPDX-License-Identifier: Apache-2.0
"""Which tests of the suite run against `--backend kubernetes`: the same functions, their systems' programs in pods of a cluster.

A pod takes the kubelet a second, so the check runs the breadth and `--whole` the rest. A module below FOLDERS without a row does not run there;
a name in a row that no test has is an error. A test named on the command line (FILE::TEST) runs whatever is said here."""
import pathlib
import re

TESTS = pathlib.Path(__file__).resolve().parent
FOLDERS = ("integration", "languages", "hazards")


LANGUAGES = "py js bash ts go java c cpp php rs r f90 d".split()


class Row:
    """`check`: names of tests, or name[parameters]; `whole`: the others can run there too."""

    def __init__(self, check, whole, why=""):
        self.check, self.whole, self.why = check, whole, why


EVERY = {""}


def every():
    return Row(EVERY, True)


def some(*names):
    return Row({*names}, True)


def never(why):
    return Row(set(), False, why)


LOCAL_PODS = "about pods of this machine: the spawner, its helper and templates, cgroups"
NO_PROGRAM = "about the api, its store or its clients: the program, if any, only prints"
LANGUAGE_ROWS = ("hello", "args", "stdin", "env", "stderr", "exit7", "signal", "broken", "forever", "ten_mb", "file")
ROWS = {
    "languages/test_1_languages.py": some(
        *(f"test_each_language[{row}-{lang}]" for lang in ("py", "c") for row in LANGUAGE_ROWS),
        *(f"test_each_language[{row}-{lang}]" for lang in ("js", "bash") for row in ("hello", "forever", "file")), "test_a_limit_of_the_request_holds", "test_what_was_left_out_is_told_although_the_program_has_ended"),
    "languages/test_2_java.py": never("a Java that waits is of this machine: a cluster starts it with the job; integration/test_worker_compile.py keeps what is compiled"),
    "integration/test_0_config.py": never(NO_PROGRAM),
    "integration/test_1_walk.py": every(),
    "integration/test_2_jobs.py": some(
        "test_the_history_of_a_run", "test_how_a_job_ends", "test_readers_see_the_same", "test_output_arrives_while_the_program_runs[sse]",
        "test_output_arrives_while_the_program_runs[ws]", "test_input_over_the_websocket", "test_a_signal_over_the_websocket",
        "test_cancel_over_the_websocket_keeps_the_output", "test_cancel_of_a_running_job", "test_a_client_that_goes_away_cancels_its_run"),
    "integration/test_2_judge.py": some("test_verdicts[wrong_answer]"),
    "integration/test_2_waiting.py": never("about the queue: what waits has no pod"),
    "integration/test_3_cli.py": never(NO_PROGRAM),
    "integration/test_3_cli_tls.py": never(NO_PROGRAM),
    "integration/test_3_redis_tls.py": never(NO_PROGRAM),
    "integration/test_3_replay.py": never(NO_PROGRAM),
    "integration/test_3_verify.py": never(NO_PROGRAM),
    "integration/test_4_gaps.py": never("about this host; kubernetes/test_4_refusals.py takes away what a cluster gives"),
    "integration/test_4_up.py": never("about starting and stopping on this machine; kubernetes/test_3_pods.py kills workers"),
    "integration/test_5_http_input.py": never(NO_PROGRAM),
    "integration/test_5_websocket.py": never(NO_PROGRAM),
    "integration/test_6_schemathesis.py": never(NO_PROGRAM),
    "integration/test_6_slow_reader.py": never(NO_PROGRAM),
    "integration/test_7_auth.py": never(NO_PROGRAM),
    "integration/test_7_files.py": some(
        "test_outputs_are_stored_whole_and_in_their_folders", "test_a_program_that_fails_gives_its_files_too",
        "test_a_program_that_is_ended_gives_its_files_too", "test_what_is_not_given_back_is_listed_with_its_reason",
        "test_too_many_outputs_are_counted[101]", "test_outputs_larger_than_all_may_be", "test_inputs_larger_than_the_working_directory",
        "test_an_output_at_its_limit_and_a_byte_more", "test_a_changed_input_is_a_new_file_of_the_same_name",
        "test_a_change_through_a_mapping_and_one_that_hides_its_time_are_seen", "test_a_touched_input_is_still_the_same",
        "test_a_removed_input_is_told", "test_an_input_called_as_the_source_would_be", "test_a_missing_input_is_named_and_nothing_runs",
        "test_a_tree_deeper_than_any_path", "test_links_to_folders_are_not_entered", "test_holes_are_zeros_and_counted_by_their_size",
        "test_what_a_killed_program_still_held_open_is_as_it_left_it"),
    "integration/test_7_objects.py": never(NO_PROGRAM),
    "integration/test_7_profiles.py": never(NO_PROGRAM),
    "integration/test_7_state.py": some(
        "test_variables_are_there_in_the_next_run", "test_what_cannot_be_saved_is_named_and_breaks_nothing",
        "test_sys_exit_keeps_what_was_done_and_an_exception_keeps_what_was_before", "test_threads_and_child_processes_do_not_lose_it",
        "test_runs_sent_at_once_run_one_after_the_other", "test_a_state_of_megabytes", "test_too_large_a_state_keeps_the_one_before"),
    "integration/test_7_state_bash.py": some(
        "test_folder_variables_and_functions_are_there_in_the_next_run", "test_without_asking_nothing_is_kept",
        "test_readonly_stays_readonly"),
    "integration/test_7_state_faults.py": never("kills workers while they save; kubernetes/test_3_pods.py kills one"),
    "integration/test_7_state_routes.py": never(NO_PROGRAM),
    "integration/test_7_workspaces.py": some(
        "test_files_stay_and_nothing_else_does", "test_changes_and_deletions", "test_concurrent_runs_queue", "test_links_lead_nowhere"),
    "integration/test_8_programmatic.py": some("test_the_worker_is_killed_between_rounds", "test_a_wait_has_an_end"),
    "integration/test_8_programmatic_cancel.py": some(),
    "integration/test_9_consumers.py": never(NO_PROGRAM),
    "integration/test_9_large.py": some(),
    "integration/test_9_traps.py": some("test_20_calls_have_the_original_name[class-class_tool-class]"),
    "integration/test_worker_compile.py": some(
        "test_1_the_second_time_nothing_is_compiled", "test_4_a_program_changes_no_entry", "test_5_what_fails_is_not_kept"),
    "integration/test_worker_contained.py": never("makes its container itself: what it shows holds for any cluster"),
    "integration/test_worker_memory.py": never(LOCAL_PODS),
    "integration/test_worker_pools.py": never(LOCAL_PODS),
    "integration/test_worker_runs.py": some(
        "test_how_it_ended", "test_characters_are_whole_in_every_event", "test_large_standard_input_of_a_slow_reader",
        "test_usage_is_told", "test_what_a_worker_says_of_itself"),
    "hazards/test_good_programs.py": some(),
    **{f"hazards/test_{name}.py": never(LOCAL_PODS) for name in (
        "pod_1_ends", "pod_2_isolation", "pod_3_rootless", "pod_4_host", "pod_5_controls", "pod_6_attacks", "pod_6_outside", "pod_7_compilers",
        "template_1_programs", "template_2_isolation", "template_3_node", "pod_8_random", "pod_9_honest", "template_4_pods")},
}
# Single tests of modules that run: what they need is not there, or they ask what only pods of this machine have.
NOT_THERE = {
    "integration/test_9_traps.py": {"test_23_bash_is_what_the_file_tools_expect": "the check's images are without libraries, and so without jq"},
    "languages/test_1_languages.py": {
        "test_the_installation_takes_its_packages_from_the_table": NO_PROGRAM,
        "test_a_missing_toolchain_is_told_and_refused": "a cluster's toolchains are in its images; kubernetes/test_3_pods.py misses one",
    },
    "integration/test_worker_runs.py": {
        "test_one_more_than_the_pool_takes_the_slow_path": LOCAL_PODS,
        "test_inputs_before_it_runs": LOCAL_PODS,
    },
}
# What a cluster cannot give: the test of kubernetes/test_4_differences.py that asserts what comes instead.
DIFFERS = {
    "languages/test_1_languages.py": {
        "test_a_limit_of_the_request_holds[memory]": "test_memory_of_a_request_is_the_pods",
        "test_a_limit_of_the_request_holds[pids]": "test_processes_over_the_limit_end_the_run",
        "test_a_share_of_a_processor_holds": "test_a_share_of_a_processor_is_the_pods",
        "test_what_is_there_is_told": "test_versions_and_libraries_are_the_images",
    },
    "integration/test_worker_runs.py": {"test_how_it_ended[memory]": "test_memory_of_a_request_is_the_pods"},
    "integration/test_7_state_bash.py": {
        "test_what_a_state_runs_it_runs_as_the_program_only": "test_the_program_has_the_runners_user_and_cannot_look_into_it",
    },
}


def modules():
    """Those of which the check runs anything."""
    return [f"tests/{module}" for module, row in ROWS.items() if row.check]


def faults_of_the_table():
    """Names that no test has."""
    there = {f"{folder}/{path.name}": path.read_text() for folder in FOLDERS for path in (TESTS / folder).glob("test_*.py")}
    faults = []
    for table in (ROWS, NOT_THERE, DIFFERS):
        for module, row in table.items():
            names = {name.split("[")[0] for name in (row.check - EVERY if isinstance(row, Row) else row)}
            missing = names - set(re.findall(r"^def (test_\w+)\(", there.get(module, ""), re.M))
            faults += [f"kubesuite.py names {module}::{name}, which is not there" for name in sorted(missing)]
    stands_for = (TESTS / "kubernetes" / "test_4_differences.py").read_text()
    return faults + [f"no {name} in test_4_differences.py" for rows in DIFFERS.values() for name in rows.values()
                     if f"def {name}(" not in stands_for]


def runs(item, images, whole):
    """Whether the check (or --whole) runs this test there; `images` are the languages that have one."""
    module = str(item.path.relative_to(TESTS))
    if module == "kubernetes/test_5_attacks.py" and item.originalname == "test_attack" and not whole:
        import attacks_there  # beside that module, which has been imported
        return attacks_there.is_checked(item.callspec.params["attack"])
    if module.split("/")[0] not in FOLDERS:
        return True
    row, names = ROWS.get(module, never("no row")), {item.name, item.originalname}
    if names & {*NOT_THERE.get(module, ()), *DIFFERS.get(module, ())}:
        return False
    lang = getattr(getattr(item, "callspec", None), "params", {}).get("lang")
    if lang in LANGUAGES and lang not in images:
        return False
    return row.check == EVERY or bool(names & row.check) or (whole and row.whole)


def choose(config, items, images):
    import pytest  # tools/check_parts.py asks for modules() and has no need of it
    if faults := faults_of_the_table():
        raise pytest.UsageError("\n".join(faults))
    if any("::" in arg for arg in config.args):
        return items
    return [item for item in items if runs(item, images, config.getoption("--whole"))]
