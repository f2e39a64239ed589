"""Map-reduce jobs by mrjob: in this process, on this machine's processors, on Spark or on Hadoop; the only place that knows mrjob.

A job never sees records. Its input is one line of JSON a group of parts, where a part is an object in a store; the mapper works a whole
group up with columnar code and yields some hundred keyed sums, the reducers merge them. So the same job runs unchanged
everywhere, and no data is copied into temporary files.

`toolkit.core.mapreduce.job` has the class that jobs derive from, `toolkit.core.mapreduce.running` runs them.
"""
