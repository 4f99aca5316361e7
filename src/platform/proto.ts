/** Loads the protocol definitions and gives them to grpc-js. */
import { loadPackageDefinition, type ServiceClientConstructor, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { join } from 'node:path';
import { PACKAGE_ROOT } from './package-root.js';

const WIRE = join(PACKAGE_ROOT, 'src', 'wire');

export type ProtoFile = 'management.proto' | 'brick-control.proto' | 'peering.proto' | 'etcd.proto';

const loaded = new Map<ProtoFile, PackageDefinition>();

/** For the server's reflection service. */
export function packageDefinition(file: ProtoFile): PackageDefinition {
  let definition = loaded.get(file);
  if (definition === undefined) {
    // etcd's member ids use all 64 bits.
    definition = loadSync(join(WIRE, file), {
      longs: file === 'etcd.proto' ? String : Number,
      enums: String,
      defaults: true,
      arrays: true,
      objects: true,
      oneofs: true,
      includeDirs: [WIRE],
    });
    loaded.set(file, definition);
  }
  return definition;
}

/** `name` is the full name, as gluon.management.v1.Management. */
export function serviceDefinition(file: ProtoFile, name: string): ServiceDefinition {
  const definition = packageDefinition(file)[name];
  if (definition === undefined) throw new Error(`${file} has no service ${name}`);
  return definition as ServiceDefinition;
}

/** The constructor of an untyped client; the callers give the messages their types. */
export function clientConstructor(file: ProtoFile, name: string): ServiceClientConstructor {
  let scope: unknown = loadPackageDefinition(packageDefinition(file));
  for (const part of name.split('.')) scope = (scope as Record<string, unknown>)[part];
  if (typeof scope !== 'function') throw new Error(`${file} has no service ${name}`);
  return scope as ServiceClientConstructor;
}
