// Names of images: [registry[:port]/]path[:tag]. Docker Hub's two implied parts are dropped, as users write them.
import { refuse } from "#base/errors.ts";

const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const REGISTRY = "[a-zA-Z0-9.-]+(?::[0-9]+)?";
const NAME = new RegExp(`^(?:${REGISTRY}/)?${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const DIGEST_PREFIX = /^(?:sha256:)?([0-9a-f]{4,64})$/;

/** Is this a full "sha256:<64 hex>"? Such text is also safe as a file name. */
export const isDigest = (text: string): boolean => DIGEST.test(text);

/** The hex digits of a digest or of a beginning of one (4 or more), else undefined. */
export const digestPrefix = (text: string): string | undefined => DIGEST_PREFIX.exec(text)?.[1];

/** The one spelling under which a name is stored: with its tag, without Docker Hub's implied parts. Undefined when invalid. */
export const canonicalName = (text: string): string | undefined => {
  const slash = text.lastIndexOf("/");
  const colon = text.indexOf(":", slash + 1);
  const name = colon < 0 ? text : text.slice(0, colon);
  const tag = colon < 0 ? "latest" : text.slice(colon + 1);
  if (name.length > 255 || !NAME.test(name) || !TAG.test(tag)) return undefined;
  return `${name.replace(/^docker\.io\/(?:library\/)?/, "")}:${tag}`;
};

/** As canonicalName; refuses invalid names as `field`. */
export const requireName = (field: string, text: string): string => {
  const name = canonicalName(text);
  if (name !== undefined) return name;
  throw refuse(
    "invalid",
    field,
    `"${text}" is not an image name`,
    "Write it as [registry/]name[:tag] in lower case, such as localhost/web:1",
  );
};
