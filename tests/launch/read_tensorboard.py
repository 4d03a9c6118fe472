#!/usr/bin/env python3
"""Prints what TensorBoard shows of the scalars of one run, as JSON: {reader: {tag: [[step, value], ...]}}.

TensorBoard has two readers: its data server, and one in Python where that cannot be started.
"""

import json
import sys

from tensorboard import context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.data import server_ingester
from tensorboard.plugins.scalar import metadata
from tensorboard.util import grpc_util


def by_python(folder):
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(folder)
    multiplexer.Reload()
    return data_provider.MultiplexerDataProvider(multiplexer, folder)


def by_data_server(folder):
    ingester = server_ingester.SubprocessServerDataIngester(
        server_ingester.get_server_binary(), folder, reload_interval=0,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL)
    ingester.start()
    return ingester.data_provider


def scalars(provider):
    runs = provider.read_scalars(context.RequestContext(), experiment_id='', plugin_name=metadata.PLUGIN_NAME,
                                 downsample=1000)
    tags, = runs.values()
    return {tag: [[point.step, float(point.value)] for point in points] for tag, points in tags.items()}


folder, = sys.argv[1:]
json.dump({'python': scalars(by_python(folder)), 'data server': scalars(by_data_server(folder))}, sys.stdout)
