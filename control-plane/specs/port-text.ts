// Ports as users write them, in flags and in stack files. Reference: Docker's `--publish` and Compose's `ports`.
import { type PortConfig, PortMode } from "#proto/gen/types.ts";
import { PROTOCOLS } from "./ports.ts";

export type Range = { readonly first: number; readonly last: number };

/** "80" or "80-90"; undefined when it is neither. Whether a number is a port is judged with the whole spec. */
export const parsePortRange = (text: string): Range | undefined => {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = match[2] === undefined ? first : Number(match[2]);
  return first <= last && last <= 65_535 ? { first, last } : undefined;
};

const size = ({ first, last }: Range): number => last - first + 1;

/**
 * The ports of a pair of ranges: as many published as targets, or several published for one target. Without published ones each
 * target gets a free one. Undefined: the ranges don't go together.
 */
export const pairRanges = (
  published: Range | undefined,
  target: Range,
  rest: Omit<PortConfig, "target" | "published">,
): PortConfig[] | undefined => {
  const one = size(target) === 1;
  if (published !== undefined && !one && size(published) !== size(target)) return undefined;
  return Array.from({ length: Math.max(size(target), published ? size(published) : 1) }, (_, i) => ({
    ...rest,
    target: target.first + (one ? 0 : i),
    published: published === undefined ? 0 : published.first + i,
  }));
};

const SHORT = /^(?:(\[[^\]]*\]|[^:[\]]*):)?(?:([\d-]*):)?([\d-]+)(?:\/(\w+))?$/;

/**
 * "80", "8080:80", "8080:80/udp", "127.0.0.1:8080:80", "[::1]:8080:80", "127.0.0.1::80", "8000-8010:80-90", all of them for the
 * mesh. A text that is none gives the reason.
 */
export const parseShortPort = (text: string): PortConfig[] | string => {
  const match = SHORT.exec(text);
  if (match === null) return `"${text}" is not a port`;
  // "8080:80" has no address: what stands before the only colon is the published port.
  const [, first, second, targetText = "", protocolText = "tcp"] = match;
  const [host, publishedText] = second === undefined ? ["", first ?? ""] : [first ?? "", second];
  const protocol = Object.hasOwn(PROTOCOLS, protocolText.toLowerCase())
    ? PROTOCOLS[protocolText.toLowerCase()]
    : undefined;
  if (protocol === undefined) return `"${protocolText}" in "${text}" is no protocol`;
  const target = parsePortRange(targetText);
  const published = publishedText === "" ? undefined : parsePortRange(publishedText);
  if (target === undefined || (publishedText !== "" && published === undefined)) return `"${text}" is not a port`;
  const rest = { name: "", protocol, mode: PortMode.INGRESS, hostIp: host.replace(/^\[(.*)\]$/, "$1") };
  return pairRanges(published, target, rest) ?? `the ranges in "${text}" have different sizes`;
};

export const PORT_REMEDY = 'Write it like "8080:80", "8080:80/udp", "127.0.0.1:8080:80" or "8000-8010:80-90"';
