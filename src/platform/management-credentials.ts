/** How a command shows a gluond on another node that it comes from a node of the same pool. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { Errno } from '../base/errno.js';
import { NoAnswerError } from '../cli/client.js';

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'error';
    throw new NoAnswerError(
      `cannot read ${path} (${code}): --remote-host works from a node of the pool, as root, with the certificate in its state directory`,
      Errno.EACCES,
    );
  }
}

/** The certificate of this node, from the state directory of its gluond. */
export async function managementCredentials(stateDirectory: string): Promise<ChannelCredentials> {
  const [{ credentials }, authority, key, certificate] = await Promise.all([
    import('@grpc/grpc-js'),
    read(join(stateDirectory, 'tls', 'ca.pem')),
    read(join(stateDirectory, 'tls', 'node.key')),
    read(join(stateDirectory, 'tls', 'node.pem')),
  ]);
  return credentials.createSsl(authority, key, certificate, { checkServerIdentity: () => undefined });
}
