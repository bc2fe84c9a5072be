// Requests to the API of the admin listener.

// A request that takes longer has failed: loops answer within 5 s, and a slice of a list within 2 s more.
const PATIENCE_MS = 10_000;
const UNREACHABLE = 'The gateway does not answer.';

/** An answer that says no, or none at all: then the status is 0. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The JSON at a path. `accepted` is a further status that is an answer, such as 503 of readiness. */
export function get(path, { signal, accepted } = {}) {
  return request(path, { method: 'GET', signal, accepted });
}

/** Posts JSON; gives the JSON that is answered, or null. */
export function post(path, body = {}, { signal } = {}) {
  return request(path, { method: 'POST', signal, body: JSON.stringify(body) });
}

/** Throws what `get` would throw at a path, and leaves the body of an answer that says yes alone. */
export async function check(path) {
  const asking = new AbortController();
  const response = await fetch(path, { cache: 'no-store', signal: asking.signal }).catch(() => null);
  if (!response) throw new ApiError(0, UNREACHABLE);
  if (response.ok) {
    asking.abort();
    return;
  }
  throw refusal(response, parse(await response.text()));
}

/** The parameters of a URL, without those that are empty. */
export function parameters(values) {
  const given = Object.entries(values).filter(([, value]) => value !== '' && value != null);
  return new URLSearchParams(given).toString();
}

async function request(path, { method, signal, body, accepted }) {
  const signals = [AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])];
  const headers = body === undefined ? {} : { 'Content-Type': 'application/json' };
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      body,
      headers,
      cache: 'no-store',
      signal: AbortSignal.any(signals),
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, UNREACHABLE);
  }
  const answer = parse(text);
  if (!response.ok && response.status !== accepted) {
    throw refusal(response, answer);
  }
  return answer;
}

function refusal({ status }, answer) {
  return new ApiError(status, answer?.error ?? `The gateway answered with ${status}.`);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
