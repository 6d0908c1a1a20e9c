// Every node compares what its kernel should have with what it has. A difference that remains is exit code 1.
import type { DoctorResponse, Finding } from "#proto/gen/control.ts";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { naturalOrder } from "#tsctl/output/natural-order.ts";
import { layoutTable } from "#tsctl/output/table.ts";

type Options = { node?: string; repair?: boolean; watch?: boolean; format?: string };

const isRepaired = ({ action }: Finding): boolean => action.startsWith("repaired");
const timeOf = (ms: number): string =>
  ms === 0
    ? ""
    : new Date(ms)
        .toISOString()
        .replace("T", " ")
        .replace(/\.\d+Z$/, "Z");

const table = (findings: readonly Finding[]): string =>
  layoutTable([
    ["SINCE", "KIND", "OBJECT", "PROBLEM", "EXPECTED", "FOUND", "ACTION"],
    ...findings.map((f) => [timeOf(f.since), f.kind, f.object, f.problem, f.expected || "-", f.found || "-", f.action]),
  ])
    .split("\n")
    .map((line) => (line === "" ? line : `  ${line}`))
    .join("\n");

const block = ({ nodeId, hostname, findings, checked, error }: DoctorResponse): string => {
  const name = hostname || nodeId;
  if (error !== "") return `${name}: not examined: ${error}\n`;
  const open = findings.filter((f) => !isRepaired(f));
  const repaired = findings.filter(isRepaired);
  const heading =
    open.length === 0
      ? `no differences (${checked} objects checked)`
      : `${open.length} of ${Math.max(checked, open.length)} objects differ`;
  return [
    `${name}: ${heading}\n`,
    ...(open.length > 0 ? [table(open)] : []),
    ...(repaired.length > 0 ? ["  repaired lately:\n", table(repaired)] : []),
  ].join("");
};

const line = ({ nodeId, hostname, error }: DoctorResponse, f: Finding | undefined): string => {
  if (f === undefined) return `${hostname || nodeId}: not examined: ${error}\n`;
  const values = f.problem === "differs" ? ` (${f.found || "nothing"} instead of ${f.expected})` : "";
  return `${timeOf(f.at || f.since)} ${hostname || nodeId}: ${f.kind} ${f.object} ${f.problem}${values}: ${f.action}\n`;
};

const examine = async (cli: Cli, { node = "", repair = false, watch = false, format }: Options): Promise<void> => {
  const control = await cli.control();
  const interrupted = watch ? { signal: cli.interrupt() } : {};
  const answers: DoctorResponse[] = [];
  try {
    for await (const answer of control.doctor({ node, repair, watch }, interrupted)) {
      answers.push(answer);
      if (format === "json") cli.out.write(`${JSON.stringify(answer)}\n`);
      else if (watch)
        for (const finding of answer.error === "" ? answer.findings : [undefined]) cli.out.write(line(answer, finding));
      if (watch) answers.length = 0;
    }
  } catch (error) {
    if (!interrupted.signal?.aborted) throw error;
  }
  if (watch) return;
  answers.sort((a, b) => naturalOrder(a.hostname, b.hostname));
  if (format !== "json") cli.out.write(answers.map(block).join(""));
  if (answers.some(({ error, findings }) => error !== "" || findings.some((f) => !isRepaired(f)))) cli.exit(1);
};

export const netDoctor: Verb = (noun, cli) =>
  noun
    .command("doctor")
    .description("Compare what the nodes' kernels should have with what they have")
    .option("--node <node>", "only this one: id, name or hostname")
    .option("--repair", "set right now what differs, and say what it was")
    .option("--watch", "show what is found and repaired as it happens, until Ctrl-C")
    .option("--format <format>", "json: one object for each answer of a node")
    .addHelpText(
      "after",
      "\nThe exit code is 1 when differences remain, or when a node can't be asked.\n\nExamples:\n  tsctl net doctor\n  tsctl net doctor --node node-2 --repair",
    )
    .action((options: Options) => examine(cli, options));
