/**
 * The pool's certificates, made with the openssl program (EC P-256, SHA-256). The pool has one authority; a node's certificate names
 * it: CN = node id, OU = "node". Keys are written with mode 0600 and never leave openssl's stdin and the state directory.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Errno, FsError } from '../base/errno.js';

export interface KeyPair {
  /** PEM. */
  certificate: string;
  key: string;
}

const OPENSSL_MS = 20_000;
const DAYS = 36_500;
const run = promisify(execFile);

async function openssl(args: string[]): Promise<void> {
  try {
    await run('openssl', args, { timeout: OPENSSL_MS });
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const detail = missing
      ? 'the program openssl was not found: install the package openssl'
      : `openssl ${args[0] ?? ''} failed: ${(error as { stderr?: string }).stderr ?? ''}`;
    throw new FsError(Errno.EIO, 'certificate', detail, { cause: error });
  }
}

/** Runs with a directory that only root can read and that is gone afterwards. */
async function inPrivateDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'gluon-pki-'));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function newKey(path: string): Promise<void> {
  await writeFile(path, '', { mode: 0o600 });
  await openssl(['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', path]);
}

/** A new authority for the pool with this id. */
export function makeAuthority(pool: string): Promise<KeyPair> {
  return inPrivateDirectory(async (directory) => {
    const key = join(directory, 'ca.key');
    const certificate = join(directory, 'ca.pem');
    await newKey(key);
    const extensions = [
      '-addext',
      'basicConstraints=critical,CA:TRUE,pathlen:0',
      '-addext',
      'keyUsage=critical,keyCertSign,cRLSign',
    ];
    await openssl([
      'req',
      '-x509',
      '-new',
      '-key',
      key,
      '-sha256',
      '-days',
      String(DAYS),
      '-subj',
      `/O=gluon/CN=pool ${pool}`,
      ...extensions,
      '-out',
      certificate,
    ]);
    return { certificate: await readFile(certificate, 'utf8'), key: await readFile(key, 'utf8') };
  });
}

/** A certificate for a node, valid for these host names and addresses (and for loopback ones, so that it can speak to itself). */
export function makeNodeCertificate(authority: KeyPair, node: string, hosts: readonly string[]): Promise<KeyPair> {
  return inPrivateDirectory(async (directory) => {
    const path = (name: string): string => join(directory, name);
    await writeFile(path('ca.pem'), authority.certificate);
    await writeFile(path('ca.key'), authority.key, { mode: 0o600 });
    await newKey(path('node.key'));
    const names = [...new Set(['127.0.0.1', '::1', 'localhost', ...hosts])].map(
      (host) => `${isIP(host) === 0 ? 'DNS' : 'IP'}:${host}`,
    );
    const extensions = [
      'basicConstraints=critical,CA:FALSE',
      'keyUsage=critical,digitalSignature',
      'extendedKeyUsage=serverAuth,clientAuth',
      `subjectAltName=${names.join(',')}`,
    ];
    await writeFile(path('extensions'), extensions.join('\n'));
    await openssl([
      'req',
      '-new',
      '-key',
      path('node.key'),
      '-sha256',
      '-subj',
      `/O=gluon/OU=node/CN=${node}`,
      '-out',
      path('node.csr'),
    ]);
    const sign = [
      'x509',
      '-req',
      '-in',
      path('node.csr'),
      '-CA',
      path('ca.pem'),
      '-CAkey',
      path('ca.key'),
      '-sha256',
      '-days',
      String(DAYS),
    ];
    await openssl([
      ...sign,
      '-set_serial',
      `0x${randomBytes(15).toString('hex')}`,
      '-extfile',
      path('extensions'),
      '-out',
      path('node.pem'),
    ]);
    return { certificate: await readFile(path('node.pem'), 'utf8'), key: await readFile(path('node.key'), 'utf8') };
  });
}
