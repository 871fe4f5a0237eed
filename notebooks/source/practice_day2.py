# %% [markdown] lang="es"
# # Práctica del día 2: procesos
#
# Al acabar, sabrás leer en los tiempos si el GIL estorba, repartir trabajo entre procesos sin pagar de más por cada
# mensaje, y predecir una aceleración antes de medirla.
#
# **Duración**: {{minutes_of_day_2}} minutos. Caben en la hora libre. Si tienes menos tiempo, haz 7, 8 y 9.
# **Antes de empezar**: la parte guiada del [día 2](day2_processes.ipynb), o saber qué son el GIL y la ley de Amdahl.

# %% [markdown] lang="en"
# # Practice for day 2: processes
#
# Afterwards you can read from times whether the GIL is in the way, spread work over processes without paying too
# much for each message, and predict a speed-up before it is measured.
#
# **Time**: {{minutes_of_day_2}} minutes. They fit into the free hour. With less time, do 7, 8 and 9.
# **Before you begin**: the guided part of [day 2](day2_processes.ipynb), or know what the GIL and Amdahl's law are.

# %%
from labkit.practice.notebook import begin

begin("{{lang}}", day=2)

# %% [markdown] lang="es"
# {{how_to_practice}}

# %% [markdown] lang="en"
# {{how_to_practice}}

# %% exercises=2

# %% [markdown] lang="es"
# ## ¿Hasta dónde llegaste?
#
# Mañana, un [sistema distribuido](day3_distributed.ipynb). La [página de inicio](index.ipynb) lleva a todo lo demás.

# %% [markdown] lang="en"
# ## How far are you?
#
# Tomorrow, a [distributed system](day3_distributed.ipynb). The [start page](index.ipynb) leads to everything else.

# %%
# %practice 2
