// Asks many places at once from where a client is, with the programs that a person would use, and tells what each answered.
import { spawn } from "node:child_process";
import type { Verdict } from "#test-cluster/e2e/reachability-rules.ts";

export type Question = {
  readonly protocol: "tcp" | "udp" | "icmp";
  readonly family: 4 | 6;
  /** Address or name. */
  readonly target: string;
  /** Not for ICMP. */
  readonly port: number;
};
export type Answer = {
  readonly verdict: Verdict;
  /** Who the server says that asked. */
  readonly source: string;
  readonly output: string;
};

/** Longer than the kernel needs to find that a neighbour is not there (3 s). */
const WAIT_S = 5;

// A line for each question: its number, and what was printed. The server answers "<hostname> <version> <client's address>".
const SCRIPT = `
tcp() { printf 'GET / HTTP/1.0\\r\\n\\r\\n' | socat -t${WAIT_S} - "TCP$1:$2:$3,connect-timeout=${WAIT_S}" 2>&1; }
udp() { socat -t0 -T${WAIT_S} "UDP$1:$2:$3" 'SYSTEM:echo; head -n 1 >&2' 2>&1; }
icmp() { ping "-$1" -n -c 1 -W ${WAIT_S} "$4" 2>&1; }
while [ $# -gt 0 ]; do
  { said=$("$2" "$3" "$4" "$5" "$6" | tr '\\r\\n' '  '); printf '%s %s\\n' "$1" "$said"; } &
  shift 6
done
wait`;

/** First sign in the output that fits; none: silence. */
const SIGNS: readonly [RegExp, Verdict][] = [
  [/\w+ 1 (\S+) *$/, "reachable"],
  [/ 1 received/, "reachable"],
  [/name resolution|Name or service not known|No address associated/, "no such name"],
  [/Connection refused/, "refused"],
];

const answerOf = (output: string): Answer => {
  for (const [sign, verdict] of SIGNS) {
    const found = sign.exec(output);
    if (found !== null) return { verdict, source: found[1] ?? "", output };
  }
  return { verdict: "unreachable", source: "", output };
};

/** `run`: the command line that runs a program where the client is, as far as the program's name. */
export const askAll = async (run: readonly string[], questions: readonly Question[]): Promise<Answer[]> => {
  const words = questions.flatMap(({ protocol, family, target, port }, i) => {
    const written = target.includes(":") ? `[${target}]` : target;
    return [String(i), protocol, String(family), written, String(port), target];
  });
  const [program, ...args] = [...run, "sh", "-c", SCRIPT, "probe", ...words];
  const child = spawn(program!, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (data) => (output += data));
  child.stderr.on("data", (data) => (output += data));
  await new Promise((resolve) => child.on("close", resolve));
  const said = new Map(output.split("\n").map((line) => [line.split(" ", 1)[0]!, line.slice(line.indexOf(" ") + 1)]));
  return questions.map((_, i) => {
    const text = said.get(String(i));
    if (text === undefined) throw new Error(`no answer to question ${i} of \`${run.join(" ")}\`: ${output}`);
    return answerOf(text);
  });
};
