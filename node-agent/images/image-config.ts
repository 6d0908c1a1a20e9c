// The part of an OCI image configuration (image-spec config.md) that containers are made from. Docker's is a superset.
import { refuse } from "#base/errors.ts";

export type OciImageConfig = {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: readonly string[];
  readonly user: string;
  readonly workdir: string;
  readonly stopSignal: string;
  readonly labels: Readonly<Record<string, string>>;
  /** "80/tcp" */
  readonly exposedPorts: readonly string[];
};

export type ImageConfigFile = {
  readonly config: OciImageConfig;
  /** Digests of the unpacked layer archives, bottom first. */
  readonly diffIds: readonly string[];
  readonly architecture: string;
  /** Milliseconds since 1970; 0 when the image doesn't say. */
  readonly createdAt: number;
};

type Json = Readonly<Record<string, unknown>>;

/** Reads a configuration blob; missing fields become empty. Refuses what is no configuration, naming `where`. */
export const parseImageConfig = (bytes: Uint8Array, where: string): ImageConfigFile => {
  const file = parseJsonObject(bytes, where);
  const diffIds = asObject(file.rootfs).diff_ids;
  if (!Array.isArray(diffIds) || !diffIds.every((id) => typeof id === "string" && /^sha256:[0-9a-f]{64}$/.test(id))) {
    throw refuse("invalid", where, "the configuration lists no layers by sha256 (rootfs.diff_ids)", REMEDY);
  }
  const config = asObject(file.config);
  return {
    config: {
      entrypoint: asStrings(config.Entrypoint),
      cmd: asStrings(config.Cmd),
      env: asStrings(config.Env),
      user: asString(config.User),
      workdir: asString(config.WorkingDir),
      stopSignal: asString(config.StopSignal),
      labels: Object.fromEntries(Object.entries(asObject(config.Labels)).map(([k, v]) => [k, asString(v)])),
      exposedPorts: Object.keys(asObject(config.ExposedPorts)),
    },
    diffIds,
    architecture: asString(file.architecture),
    createdAt: Date.parse(asString(file.created)) || 0,
  };
};

/** A JSON object from bytes; refuses anything else, naming `where`. */
export const parseJsonObject = (bytes: Uint8Array, where: string): Json => {
  const value = parseJson(bytes, where);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw refuse("invalid", where, "it holds no JSON object", REMEDY);
};

export const parseJson = (bytes: Uint8Array, where: string): unknown => {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw refuse("invalid", where, "it is not JSON", REMEDY);
  }
};

export const asObject = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
export const asArray = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
export const asString = (value: unknown): string => (typeof value === "string" ? value : "");
const asStrings = (value: unknown): readonly string[] => asArray(value).filter((item) => typeof item === "string");

const REMEDY = "Save the image again as a docker archive or an OCI layout";
